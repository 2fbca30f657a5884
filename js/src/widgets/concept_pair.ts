import { widget } from "../core/frame";
import { PAIR } from "../core/pair_traits";
import { mountConceptPair } from "../parts/concept_pair";

export default widget("ConceptPair", mountConceptPair, "two concepts side by side", PAIR);
