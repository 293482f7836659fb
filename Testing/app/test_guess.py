"""Listings as scenes of the clinic and of public data have them, and which volume should go where."""

from types import SimpleNamespace

import pytest

from MMHVAESynthesisLib.app.guess import guess

MR, US, CT = {"Modality": "MR"}, {"Modality": "US"}, {"Modality": "CT"}

LISTINGS = [
    (["Case3-US-before", "Case3-FLAIR", "Case3-T1"], {"us": "Case3-US-before", "flair": "Case3-FLAIR"}, []),
    (["Case3-US-before", "Case3-US-during", "Case3-US-after", "Case3-T1"], {}, ["us"]),
    (["BraTS2021_01484_t1", "BraTS2021_01484_t1ce", "BraTS2021_01484_t2", "BraTS2021_01484_flair"],
     {"cet1": "BraTS2021_01484_t1ce", "t2": "BraTS2021_01484_t2", "flair": "BraTS2021_01484_flair"}, []),
    (["BraTS-GLI-00000-000-t1n", "BraTS-GLI-00000-000-t1c", "BraTS-GLI-00000-000-t2w", "BraTS-GLI-00000-000-t2f"],
     {"cet1": "BraTS-GLI-00000-000-t1c", "t2": "BraTS-GLI-00000-000-t2w"}, []),
    (["3D_AX_T1_postcontrast", "3D_AX_T1_precontrast", "3D_AX_T2_SPACE", "USpredura"],
     {"cet1": "3D_AX_T1_postcontrast", "t2": "3D_AX_T2_SPACE", "us": "USpredura"}, []),
    (["5: t2_space_dark-fluid_sag_p2_iso", "6: t1_mpr_ns_sag_gd", "7: t2_tse_tra"],
     {"flair": "5: t2_space_dark-fluid_sag_p2_iso", "cet1": "6: t1_mpr_ns_sag_gd", "t2": "7: t2_tse_tra"}, []),
    (["6: t1_mpr_ns_sag_gd", "8: t1_tse_tra_gd"], {}, ["cet1"]),
    (["sub-01_T1w", "sub-01_ce-gd_T1w", "sub-01_T2w", "sub-01_FLAIR"],
     {"cet1": "sub-01_ce-gd_T1w", "t2": "sub-01_T2w", "flair": "sub-01_FLAIR"}, []),
    (["MRHead"], {}, []),
    (["CTChest", "CTACardio", "PETDICOM"], {}, []),
    (["iUS", "iUS synthetic T2 (MMHVAE)", "iUS synthetic FLAIR (MMHVAE)"], {"us": "iUS"}, []),
    (["T2", "T2_resampled"], {}, ["t2"]),
    (["T2", "T2-label", "T2 seg"], {"t2": "T2"}, []),
    (["SWI", "T2star", "ep2d_diff", "perf_DSC", "ADC"], {}, []),
    (["us1", "t1ce", "volume", "volume_1"], {"us": "us1", "cet1": "t1ce"}, []),
    (["Ultrasound 3D", "Ax T2 FRFSE", "Ax T1 BRAVO +C", "Sag T2 FLAIR CUBE"],
     {"us": "Ultrasound 3D", "t2": "Ax T2 FRFSE", "cet1": "Ax T1 BRAVO +C", "flair": "Sag T2 FLAIR CUBE"}, []),
    ([("101", {**MR, "SeriesDescription": "MPRAGE", "ContrastBolusAgent": "Gadovist"}), ("102", US), ("103", CT)],
     {"cet1": "101", "us": "102"}, []),
    ([("T2", CT), ("US recon", MR)], {}, []),
    ([("4: FLAIR", MR), ("FLAIR", {})], {}, ["flair"]),
    (["", "unnamed", "Volume 12", "image"], {}, []),
    (["T1", "T1 pre contrast", "MPRAGE", "Status post OP"], {}, []),
    (["tumor mask", "brain mask", "US roi"], {}, []),
    (["iUS predura", "preop_T2w", "Pre-op FLAIR", "t1ce pre operative"], {"us": "iUS predura"}, []),
    (["preop_T2w", "Pre-op FLAIR"], {"t2": "preop_T2w", "flair": "Pre-op FLAIR"}, []),
    (["iUS", "T2 intraop", "FLAIR preoptimised"], {"us": "iUS", "t2": "T2 intraop", "flair": "FLAIR preoptimised"}, []),
]  # fmt: skip


def volumes(listing):
    pairs = [each if isinstance(each, tuple) else (each, {}) for each in listing]
    return [SimpleNamespace(node=object(), name=name, dicom=tags, patient="") for name, tags in pairs]


@pytest.mark.parametrize(("listing", "chosen", "unclear"), LISTINGS, ids=[str(i) for i in range(len(LISTINGS))])
def test_listings(listing, chosen, unclear):
    found = guess(volumes(listing))
    assert {modality: volume.name for modality, volume in found.chosen.items()} == chosen
    assert list(found.unclear) == unclear


def test_there_are_twenty_listings():
    assert len(LISTINGS) >= 20


def test_what_is_taken_stays_out_of_it():
    listing = volumes(["US 1", "US 2", "T2"])
    assert guess(listing).unclear == {"us": ("US 1", "US 2")}
    assert guess(listing, taken=[listing[0].node]).chosen["us"].name == "US 2"
    assert guess(listing, wanted=["t2"]).unclear == {}
    assert "US 1, US 2" in guess(listing).sentence() and guess(listing, wanted=["t2"]).sentence() == ""


def test_mr_from_before_the_operation_is_left_out_beside_ultrasound_and_named():
    listing = volumes(["preop T2", "FLAIR"])
    found = guess(listing, wanted=["t2", "flair"], beside_ultrasound=True)
    assert list(found.chosen) == ["flair"]
    assert "lie on one another: preop T2." in found.sentence()
    assert list(guess(listing, wanted=["t2", "flair"]).chosen) == ["t2", "flair"]


def of_patients(**names):
    """Volumes by the patient that they are of; ``nobody``: of none that is known."""
    named = [(patient, name) for patient, each in names.items() for name in each]
    return [
        SimpleNamespace(node=object(), name=name, dicom={}, patient="" if patient == "nobody" else patient)
        for patient, name in named
    ]


def names_of(found):
    return {modality: volume.name for modality, volume in found.chosen.items()}


def test_volumes_of_another_patient_than_the_ultrasounds_are_left_out_and_named():
    listing = of_patients(Smith=["3D US predura", "T2 TSE"], Jones=["FLAIR AX", "T2 of Jones"], nobody=["t1ce"])
    found = guess(listing)
    assert names_of(found) == {"us": "3D US predura", "t2": "T2 TSE", "cet1": "t1ce"} and not found.unclear
    assert found.sentence() == "Left out, being of another patient: FLAIR AX. Choose them if they belong here."
    assert guess(listing, ["t2"]).unclear == {"t2": ("T2 TSE", "T2 of Jones")}, "nothing says who the patient is"


def test_what_is_chosen_already_says_who_the_patient_is():
    listing = of_patients(Smith=["T2 a", "iUS", "FLAIR a"], Jones=["T2 b", "US", "FLAIR b"])
    assert set(guess(listing).unclear) == {"us", "t2", "flair"}
    for number, name in enumerate(("FLAIR a", "FLAIR b")):
        found = guess(listing, ["t2", "flair"], taken=[listing[3 * number].node, listing[3 * number + 1].node])
        assert names_of(found) == {"flair": name}
    found = guess(listing, taken=[listing[3].node])
    assert names_of(found) == {"us": "US", "flair": "FLAIR b"}


def test_where_no_mr_is_of_the_ultrasounds_patient_all_count():
    """As of an ultrasound that was exported under another ID than the MR."""
    listing = of_patients(Smith_OR=["iUS"], Smith=["T2"], nobody=["FLAIR"])
    assert names_of(guess(listing)) == {"us": "iUS", "t2": "T2", "flair": "FLAIR"}
    assert names_of(guess(listing, ["t2"], taken=[listing[0].node])) == {"t2": "T2"}
    assert guess(listing).sentence() == ""


def test_an_ultrasound_of_another_patient_keeps_no_mr_from_before_the_operation_out():
    listing = of_patients(Smith=["T2", "preop FLAIR"], Jones=["iUS"])
    found = guess(listing, ["us", "flair"], taken=[listing[0].node])
    assert names_of(found) == {"flair": "preop FLAIR"} and "another patient: iUS." in found.sentence()
