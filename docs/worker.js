// Search runs in a worker, and a browser starts none from a file: there a frame does its work.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inside = frame.contentWindow;
      inside.importScripts = (...urls) =>
        Promise.all(
          urls.map(
            (src) =>
              new Promise((done, failed) => {
                const script = inside.document.createElement("script");
                Object.assign(script, { src, onload: done, onerror: failed });
                inside.document.body.append(script);
              }),
          ),
        );
      this.deliver = (data) => inside.dispatchEvent(new inside.MessageEvent("message", { data }));
      inside.postMessage = (data) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        this.onmessage?.(event);
      };
      inside.importScripts(new URL(url, location.href).href).then(() => {
        for (const data of this.waiting) this.deliver(data);
        this.waiting = null;
      });
    }
    postMessage(data) {
      if (this.waiting) this.waiting.push(data);
      else this.deliver(data);
    }
    terminate() {}
  };
}
