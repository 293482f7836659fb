"""What can be said against a case before any work, from the names and headers of its files."""

import os

from ..errors import InputError
from ..modalities import MODALITIES, US, labels
from ..request import check_no_dicom
from ..volumes import files
from .case_folder import reading
from .cases import Case, problem_of
from .settings import Settings
from .table import PREOPERATIVE


def trouble_of(case: Case, settings: Settings) -> str:
    """Return why nothing can be done with a case; empty where nothing speaks against it. Reads no volume."""
    problem = problem_of(case, settings.register)
    if problem:
        return problem
    try:
        for file in (*case.inputs.values(), *case.preoperative.values()):
            if not os.path.isdir(file):  # of a folder more is said where volumes are read
                with reading(file), open(file, "rb"):
                    pass
            check_no_dicom(file)
        settings.synthesis(case.inputs)
        if settings.register and case.preoperative:
            synthetic = {target: f"synthetic {target}" for target in settings.targets or MODALITIES}
            settings.registration(synthetic, case.preoperative, None)
    except InputError as error:
        return str(error)
    return ""


def nothing_to_register(case: Case, settings: Settings) -> str:
    """Return a warning where a registration is asked for, and a case's MR is all among what is synthesised from."""
    mr = [modality for modality in case.inputs if modality != US]
    if not settings.register or case.preoperative or not mr:
        return ""
    columns = ", ".join(PREOPERATIVE + modality for modality in mr)
    return (
        f"Nothing is registered: the case's {labels(mr)} {'is' if len(mr) == 1 else 'are'} given as lying on the "
        f"ultrasound. What has to be moved to it belongs, in a table, into the column{'s' * (len(mr) > 1)} {columns}."
    )


def trouble_in_headers(case: Case) -> str:
    """Return which file of a case is no grey 3D volume by its header; empty where none is known to be."""
    try:
        for file in (*case.inputs.values(), *case.preoperative.values()):
            files.check_header(file)
    except InputError as error:
        return str(error)
    return ""
