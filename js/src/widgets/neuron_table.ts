import { part, widget } from "../core/frame";
import { mountNeuronTable } from "../parts/neuron_table";

export default widget("NeuronTable", part(mountNeuronTable), "table of neurons");
