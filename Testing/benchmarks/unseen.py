"""Which cases a benchmark may measure a model on: those that it was not trained on."""

from MMHVAESynthesisLib.errors import InputError
from MMHVAESynthesisLib.evaluation.evaluate import names_to_judge_on


def names(model, chosen=None):
    """Return the names of the cases to measure on, the chosen ones or those held out; end where it has seen one."""
    try:
        return names_to_judge_on(model, chosen or ())
    except InputError as error:
        raise SystemExit(str(error)) from error


def says(model, case):
    """Return whether a model was trained on a case of that name: yes, no, or unknown where it does not say."""
    cases = model.header.training.get("cases")
    return "unknown" if not cases else "yes" if case in cases else "no"
