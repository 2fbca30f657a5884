import { widget } from "../core/frame";
import { mountConceptPair } from "../parts/concept_pair";

export default widget("ConceptPair", mountConceptPair, "two concepts side by side");
