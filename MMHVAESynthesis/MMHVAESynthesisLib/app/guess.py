"""Which of the loaded volumes is which modality: a guess, and no guess where it is not clear."""

from dataclasses import dataclass
from typing import Dict, Iterable, List, Sequence, Set, Tuple

from ..modalities import MODALITIES, US, is_preoperative, label, recognise
from .i18n import _


@dataclass(frozen=True)
class Guess:
    """What was guessed.

    :param chosen: ``{modality: volume}`` where exactly one volume speaks for a modality.
    :param unclear: ``{modality: names}`` where several do.
    :param preoperative: Names of MR that are left out, since they come from before the operation.
    :param of_others: Names of volumes that are left out, since they are of another patient than the others, where that
        leaves a modality without any.
    """

    chosen: Dict[str, object]
    unclear: Dict[str, Tuple[str, ...]]
    preoperative: Tuple[str, ...] = ()
    of_others: Tuple[str, ...] = ()

    def sentence(self) -> str:
        """Say what was left to the user; empty where nothing was."""
        sentences = [
            _("Several volumes look like {modality} ({names}): choose one yourself.").format(
                modality=label(modality), names=", ".join(names)
            )
            for modality, names in self.unclear.items()
        ]
        if self.preoperative:
            left_out = _("Left out, since inputs have to lie on one another: {names}. Choose them if they do.")
            sentences.append(left_out.format(names=", ".join(self.preoperative)))
        if self.of_others:
            left_out = _("Left out, being of another patient: {names}. Choose them if they belong here.")
            sentences.append(left_out.format(names=", ".join(self.of_others)))
        return " ".join(sentences)


def guess(
    volumes: Sequence, wanted: Iterable[str] = MODALITIES, taken: Sequence = (), beside_ultrasound: bool = False
) -> Guess:
    """Guess the modalities of volumes from their names and DICOM tags.

    The patient of what is chosen already, else of the ultrasound, is whose volumes are looked for, beside those of
    which none is known. Where no MR to choose from is that patient's, all count: an ultrasound may have been exported
    under another ID than the MR.

    :param volumes: Have ``node``, ``name``, ``dicom`` and ``patient``, as :class:`scene.loaded.Loaded`.
    :param wanted: The modalities to look for.
    :param taken: Nodes that are chosen already and stay out of it, but for saying who the patient is.
    :param beside_ultrasound: Ultrasound is chosen already. Beside ultrasound an MR whose name says that it is from
        before the operation is no guess: the brain has moved since, and so may the patient have.
    """
    found: Dict[str, List] = {}
    for volume in volumes:
        if not any(volume.node is node for node in taken):
            found.setdefault(recognise(volume.name, volume.dicom), []).append(volume)
    wanted = list(wanted)
    whose = _patients(v for v in volumes if any(v.node is node for node in taken))
    whose = whose or _patients(found.get(US, ()) if US in wanted else ())
    others: List = []
    if whose & _patients(v for m in wanted if m != US for v in found.get(m, ())):
        theirs = {m: [v for v in each if v.patient in ("", *whose)] for m, each in found.items()}
        others = [v for m in wanted if not theirs.get(m) for v in found.get(m, ())]
        found = {m: each for m, each in theirs.items() if each}
    former: List = []
    if beside_ultrasound or (US in wanted and US in found):
        former = [v for m in wanted if m != US for v in found.get(m, ()) if is_preoperative(v.name)]
        found = {m: [v for v in each if not any(v is out for out in former)] for m, each in found.items()}
    chosen = {m: found[m][0] for m in wanted if len(found.get(m, ())) == 1}
    unclear = {m: tuple(each.name for each in found[m]) for m in wanted if len(found.get(m, ())) > 1}
    return Guess(chosen, unclear, tuple(v.name for v in former), tuple(v.name for v in others))


def _patients(volumes: Iterable) -> Set[str]:
    """Return whose volumes these are, as far as that is known."""
    return {volume.patient for volume in volumes} - {""}
