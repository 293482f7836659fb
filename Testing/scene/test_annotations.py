"""Which volumes a slice view shows, wherever in its layers they lie."""

from types import SimpleNamespace

import pytest

pytest.importorskip("vtk", reason="not installed: vtk, which comes with slicer-core")


@pytest.fixture
def annotations(scene):
    from MMHVAESynthesisLib.scene import annotations

    return annotations


def test_a_synthetic_volume_in_a_further_layer_is_found_while_it_can_be_seen(slicer, scenes, annotations):
    composite = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    if not hasattr(composite, "GetNumberOfAdditionalLayers"):
        pytest.skip("this Slicer has three layers only")
    synthetic = scenes.volume("Anonymous")
    synthetic.SetAttribute("MMHVAE.synthetic", "1")
    composite.SetBackgroundVolumeID(scenes.volume("US").GetID())
    first = composite.Layer_Last
    composite.SetNthLayerVolumeID(first, scenes.volume("T2").GetID())
    composite.SetNthLayerOpacity(first, 1.0)
    assert not annotations.shows_synthetic(composite)
    composite.SetNthLayerVolumeID(first + 1, synthetic.GetID())
    composite.SetNthLayerOpacity(first + 1, 0.5)
    assert annotations.shows_synthetic(composite)
    composite.SetNthLayerOpacity(first + 1, 0.0)
    assert not annotations.shows_synthetic(composite)


def test_a_slicer_with_three_layers_only_will_do(scenes, annotations):
    us = scenes.volume("US")
    three = {
        "GetBackgroundVolumeID": us.GetID,
        "GetForegroundOpacity": lambda: 0.0,
        "GetLabelOpacity": lambda: 0.0,
    }
    assert annotations.shown_volumes(SimpleNamespace(**three)) == [us]
