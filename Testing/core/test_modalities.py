import pytest

from MMHVAESynthesisLib.modalities import other_modality, recognise

NAMES = {
    "us": [
        "Case3-US-before.nii.gz",
        "USpredura",
        "US_1 predura",
        "iUS",
        "us1",
        "Ultrasound 3D",
        "ReMIND-001-intraop-US-predura",
        "3DUS_recon",
        "intraop-us",
    ],
    "t2": ["T2_BLADE", "preopT2", "sub-01_T2w", "AXIAL T2 FRFSE", "t2_tse_tra", "3D_AX_T2_SPACE", "BraTS2021_01484_t2"],
    "cet1": [
        "t1ce",
        "BraTS2021_01484_t1ce",
        "3D_AX_T1_postcontrast",
        "T1c",
        "T1Gd",
        "T1+C",
        "6: t1_mpr_ns_sag_gd",
        "sub-01_ce-gd_T1w",
        "T1KM",
        "T1post",
        "t1_ce.nrrd",
        "ceT1",
        "Ax T1 BRAVO +C",
        "Ax T1 FLAIR +C",
        "SAG T1 FLAIR POST",
        "T1_post_KM",
        "T1 post-op post contrast",
        "T1 nach KM",
        "T1_KM_vor_OP",
        "T1 km avant chirurgie",
        "T1 +C - AX",
        "4: AX T1 +C - acquisitionNumber 1",
        "t1_tirm_tra_dark-fluid_KM",
    ],
    "flair": [
        "FLAIR_to_T1c.nii.gz",
        "T2_FLAIR_coreg_to_T1ce",
        "rFLAIR_T1ce_space",
        "FLAIR in T1ce space",
        "sub-01_space-T1w_FLAIR.nii.gz",
        "FLAIR_reg_T1",
        "T2 FLAIR T1 space",
        "T2_FLAIR_AX",
        "t2_tse_dark-fluid_tra",
        "sub-01_FLAIR",
        "FLAIR",
        "T2FLAIR",
        "3D FLAIR sag",
    ],
    None: [
        "T1_MPRAGE",
        "T1_MPRAGE_pre",
        "T1 ohne KM",
        "T1 mpr ns sag o. KM",
        "T1 vor KM",
        "T1_pre_KM",
        "T1 pre KM",
        "T1 w/o contrast",
        "T1 without contrast",
        "AX T1 PRE GAD",
        "T1 pre gadolinium",
        "T1 no Gd",
        "T1 C-",
        "T1 C- sag",
        "T1_C-.nii.gz",
        "T1C-",
        "T1w FLAIR sag",
        "AX T1 TSE FLAIR",
        "T1 post-op",
        "T1_post_resection",
        "Ax T1 FLAIR",
        "t1_tirm_tra_dark-fluid",
        "T1 sans injection",
        "t1 pre contrast",
        "sub-01_T1w",
        "SWI",
        "T2star",
        "T2*",
        "ep2d_diff",
        "MRHead",
        "Status",
        "CT bone",
        "flair seg",
        "tumor-label",
        "Case27 synthetic T2 (MMHVAE)",
        "T2 from iUS synthetic",
        "synthetic-ceT1",
        "",
        "campus",
    ],
}


@pytest.mark.parametrize(("modality", "name"), [(m, name) for m, names in NAMES.items() for name in names])
def test_names_of_the_clinic(modality, name):
    assert recognise(name) == modality


@pytest.mark.parametrize(
    ("modality", "name", "dicom"),
    [
        ("us", "unnamed 4", {"Modality": "US"}),
        ("cet1", "7: MPRAGE", {"Modality": "MR", "SeriesDescription": "MPRAGE", "ContrastBolusAgent": "Gadovist"}),
        ("flair", "5", {"Modality": "MR", "SeriesDescription": "t2_space_dark-fluid_sag"}),
        (None, "MPRAGE pre contrast", {"Modality": "MR", "ContrastBolusAgent": "Gadovist"}),
        (None, "AX T1 PRE", {"Modality": "MR", "ContrastBolusAgent": "Gadovist"}),
        ("cet1", "T1 pre-op", {"Modality": "MR", "ContrastBolusAgent": "Gadovist"}),
        ("flair", "6", {"Modality": "MR", "SeriesDescription": "AX FLAIR", "ProtocolName": "BRAIN T1 T2 FLAIR +C"}),
        (
            "flair",
            "7: AX FLAIR",
            {"Modality": "MR", "ProtocolName": "STEALTH BRAVO", "ContrastBolusAgent": "Gadovist"},
        ),
        (None, "us", {"Modality": "MR"}),
        (None, "T2", {"Modality": "CT"}),
    ],
)
def test_dicom_tags(modality, name, dicom):
    assert recognise(name, dicom) == modality


@pytest.mark.parametrize(
    ("modality", "name", "other"),
    [
        ("flair", "t2_spc_da-fl_sag", None),
        ("flair", "t2_space_ir", None),
        ("flair", "AX T2 TIR", None),
        ("cet1", "T1 MPRAGE for US", None),
        ("cet1", "T1 registered to FLAIR", None),
        ("t2", "preop MR in US space", None),
        ("t2", "Doe-US", "us"),
        ("t2", "Case1 FLAIR", "flair"),
        ("cet1", "Case1-T2", "t2"),
        ("flair", "T2_AX", "t2"),
        ("us", "T1ce", "cet1"),
    ],
)
def test_names_that_scanners_and_users_give_are_doubted_where_they_speak_of_something_else_alone(modality, name, other):
    assert other_modality(modality, name) == other
