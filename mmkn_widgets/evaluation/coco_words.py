"""The words by which captions name COCO's 80 categories."""

from __future__ import annotations

from collections.abc import Iterable

from ..core import Concept

__all__ = ["COCO_SYNONYMS", "coco_vocabulary"]

#: Further words for a category, in the singular; words that mean many other things are left out.
COCO_SYNONYMS: dict[str, tuple[str, ...]] = {
    "person": (
        *("man", "woman", "boy", "girl", "child", "kid", "baby", "lady", "guy", "gentleman"),
        *("player", "skier", "surfer", "snowboarder", "skateboarder", "pedestrian", "passenger"),
        *("batter", "pitcher", "catcher", "umpire", "tourist", "adult", "toddler", "human"),
    ),
    "bicycle": ("bike",),
    "car": ("automobile", "sedan", "taxi", "cab", "suv", "minivan"),
    "motorcycle": ("motorbike", "scooter", "moped", "dirt bike"),
    "airplane": ("plane", "aeroplane", "jet", "jetliner", "airliner", "aircraft"),
    "bus": ("minibus", "double decker"),
    "train": ("locomotive", "tram"),
    "truck": ("lorry", "pickup", "fire engine"),
    "boat": ("ship", "sailboat", "canoe", "kayak", "ferry", "yacht", "motorboat"),
    "traffic light": ("stoplight", "traffic signal", "stop light"),
    "fire hydrant": ("hydrant",),
    "stop sign": (),
    "parking meter": (),
    "bench": (),
    "bird": (
        *("pigeon", "seagull", "duck", "goose", "swan", "owl", "parrot", "eagle", "penguin"),
        *("flamingo", "pelican", "crow", "peacock", "ostrich", "sparrow"),
    ),
    "cat": ("kitten", "kitty"),
    "dog": ("puppy", "pup", "poodle", "terrier", "corgi", "bulldog", "dalmatian", "retriever"),
    "horse": ("pony", "foal", "stallion", "mare"),
    "sheep": ("lamb", "ram", "ewe"),
    "cow": ("cattle", "bull", "calf", "ox"),
    "elephant": (),
    "bear": ("polar bear", "grizzly", "panda", "cub"),
    "zebra": (),
    "giraffe": (),
    "backpack": ("rucksack", "knapsack"),
    "umbrella": ("parasol",),
    "handbag": ("purse",),
    "tie": ("necktie", "bow tie"),
    "suitcase": ("luggage", "briefcase"),
    "frisbee": (),
    "skis": ("ski",),
    "snowboard": (),
    "sports ball": ("ball", "baseball", "football", "basketball", "volleyball"),
    "kite": (),
    "baseball bat": ("bat",),
    "baseball glove": ("mitt",),
    "skateboard": (),
    "surfboard": (),
    "tennis racket": ("racket", "racquet"),
    "bottle": (),
    "wine glass": ("wineglass",),
    "cup": ("mug", "teacup"),
    "fork": (),
    "knife": (),
    "spoon": (),
    "bowl": (),
    "banana": (),
    "apple": (),
    "sandwich": ("burger", "hamburger", "cheeseburger", "panini"),
    "orange": (),
    "broccoli": (),
    "carrot": (),
    "hot dog": ("hotdog",),
    "pizza": (),
    "donut": ("doughnut",),
    "cake": ("cupcake", "cheesecake"),
    "chair": ("armchair", "stool", "recliner"),
    "couch": ("sofa", "loveseat"),
    "potted plant": ("houseplant", "plant"),
    "bed": (),
    "dining table": ("table",),
    "toilet": ("urinal", "commode"),
    "tv": ("television", "tv screen"),
    "laptop": ("notebook computer",),
    "mouse": ("computer mouse",),
    "remote": ("remote control",),
    "keyboard": (),
    "cell phone": ("cellphone", "phone", "smartphone", "mobile phone", "telephone"),
    "microwave": ("microwave oven",),
    "oven": ("stove", "stovetop"),
    "toaster": (),
    "sink": ("washbasin",),
    "refrigerator": ("fridge", "freezer"),
    "book": (),
    "clock": (),
    "vase": (),
    "scissors": (),
    "teddy bear": ("teddy", "stuffed bear"),
    "hair drier": ("hair dryer", "hairdryer", "blow dryer"),
    "toothbrush": (),
}


def coco_vocabulary(categories: Iterable[str] | None = None) -> dict[str, tuple[str, ...]]:
    """Return every form by which captions name COCO's categories.

    Parameters
    ----------
    categories : iterable of str, optional
        By default all 80; one that COCO does not know has only its own singular and plural.

    Returns
    -------
    dict of str to tuple of str
        For `as_vocabulary`, `chair` and the others.

    Examples
    --------
    >>> coco_vocabulary(["donut"])
    {'donut': ('donut', 'donuts', 'doughnut', 'doughnuts')}
    """
    chosen = COCO_SYNONYMS if categories is None else categories
    return {name: Concept(name, COCO_SYNONYMS.get(name, ())).forms for name in chosen}
