"""The same request from the panel, the console and the command line."""

import json
import time

import pytest

from .driving import choose_file, poll

pytest.importorskip("torch", reason="not installed: torch")


def wait(panel, seconds=120):
    end = time.monotonic() + seconds
    while panel.panel.work.is_running:
        assert time.monotonic() < end, panel.panel.report()
        poll(panel)
        time.sleep(0.05)


def test_panel_console_and_command_line_give_identical_voxels(slicer, panel, scenes, module, tmp_path, capsys):
    from MMHVAESynthesisLib.__main__ import main
    from MMHVAESynthesisLib.scene.nodes import to_image
    from MMHVAESynthesisLib.volumes import files

    test = module.MMHVAESynthesisTest()
    model, us = test.makeModel(str(tmp_path / "random.safetensors")), test.makeUltrasound()
    panel.ui.usSelector.setCurrentNode(us)
    choose_file(panel, model)
    panel.ui.deviceSelector.currentIndex = 1
    panel.ui.seedSpinBox.value = 6
    panel.ui.cet1Target.checked = False
    panel.ui.uncertaintyCheckBox.checked = True
    panel.ui.samplesSpinBox.value = 2
    panel.ui.applyButton.click()
    wait(panel)
    run = panel.panel.results.chosen()
    assert run is not None, panel.panel.report()
    settings = {"samples": 2, "seed": 6, "device": "cpu"}
    console = module.MMHVAESynthesisLogic().synthesize({"us": us}, ["t2", "flair"], model=model, **settings)
    file = files.write(to_image(us, "The iUS"), tmp_path / "us.nrrd")
    options = ["--samples", "2", "--seed", "6", "--device", "cpu", "--targets", "t2,flair", "--model", model]
    capsys.readouterr()
    assert main(["synthesize", "--us", str(file), "--output-dir", str(tmp_path / "out"), "--json", *options]) == 0
    written = json.loads(capsys.readouterr().out)["result"]
    import SimpleITK as sitk

    assert list(run.outputs) == list(console) == list(written["outputs"]) == ["t2", "flair"]
    for modality in console:
        pairs = [(run.outputs[modality], console[modality], written["outputs"][modality])]
        maps = [node.GetNodeReference("MMHVAE.uncertainty") for node in pairs[0][:2]]
        pairs.append((*maps, written["uncertainty"][modality]))
        for of_panel, of_console, of_file in pairs:
            voxels = slicer.util.arrayFromVolume(of_panel)
            assert voxels.tobytes() == slicer.util.arrayFromVolume(of_console).tobytes()
            assert voxels.tobytes() == sitk.GetArrayFromImage(files.read(of_file)).tobytes() and voxels.std() > 0
