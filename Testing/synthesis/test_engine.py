import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import SimpleITK as sitk

torch = pytest.importorskip("torch")

from MMHVAESynthesisLib.errors import Cancelled, DeviceError, InputError, ModelError  # noqa: E402
from MMHVAESynthesisLib.models.loading import load  # noqa: E402
from MMHVAESynthesisLib.request import SynthesisRequest  # noqa: E402
from MMHVAESynthesisLib.synthesis import devices, passes, plan, planes  # noqa: E402
from MMHVAESynthesisLib.synthesis.engine import preview, synthesize  # noqa: E402
from MMHVAESynthesisLib.synthesis.noise import slice_noise  # noqa: E402
from MMHVAESynthesisLib.volumes.files import same_geometry  # noqa: E402
from MMHVAESynthesisLib.volumes.intensity import to_image  # noqa: E402
from MMHVAESynthesisLib.volumes.preparation import PreparedCase  # noqa: E402

from .making import SIZES, SPACING, array, fan, model_file, volume_like  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return model_file(tmp_path_factory.mktemp("model"))


def run(inputs, model, **settings):
    return synthesize(SynthesisRequest(inputs, model=model, device="cpu", **settings))


@pytest.fixture
def in_batches(monkeypatch):
    """Let a CPU take slices in batches, as a GPU does."""

    def found(request, sizes):
        return dataclasses.replace(devices.find_resources(request, sizes), batch=request.batch or 1)

    monkeypatch.setattr(plan, "find_resources", found)


def same(first, second):
    return all(np.array_equal(array(first[target]), array(second[target])) for target in first)


def test_voxels_are_those_of_the_network_on_slices_cut_by_hand(model):
    us, t2 = fan(), fan(dtype=np.int16, seed=3)
    result = run({"us": us, "t2": t2}, model, seed=11)
    network = load(model).network

    def by_hand(image):
        values = array(image).astype(np.float64)
        mask = values > 0
        low, high = values[mask].min(), np.percentile(values[mask], 99.95)
        return np.where(mask, (np.minimum(values, high) - low) / (high - low) * (1 + 255 / 256) - 255 / 256, -1)

    slices = {"us": by_hand(us), "t2": by_hand(t2)}
    for k in range(1, 5):
        noise = [torch.from_numpy(n)[None] for n in slice_noise(SIZES.noise_shapes(), "independent", 11, 0, 0, k, 0)]
        given = {m: torch.from_numpy(s[k].T.astype(np.float32))[None, None] for m, s in slices.items()}
        with torch.no_grad():
            expected = network(given, noise, 0.7).images
        for target in SIZES.modalities:
            found = array(result.images[target])[k]
            np.testing.assert_allclose(found, 127.5 * (expected[target][0, 0].numpy().T + 1), atol=2e-3)


def test_results_lie_on_the_references_grid_with_its_background(model):
    us = fan(9, 40, (0.4, 0.45, 0.3), origin=(3, 4, 5))
    us.SetDirection((0, 0, 1, 1, 0, 0, 0, 1, 0))
    result = run({"us": us}, model, targets=["t2", "flair"])
    assert list(result.images) == ["t2", "flair"] and result.reference == "us" and not result.uncertainty
    for image in result.images.values():
        assert same_geometry(us, image, 1e-9) and array(image).dtype == np.float32
        np.testing.assert_array_equal(array(image) > 0, array(us) > 0)
        assert array(image).max() <= 255


@pytest.mark.parametrize("settings", [{}, {"samples": 3}, {"noise": "shared"}])
def test_bits_do_not_depend_on_the_number_of_workers(model, settings):
    us = fan(7, 50)  # two by two tiles
    one, three = (run({"us": us}, model, workers=workers, **settings) for workers in (1, 3))
    assert same(one.images, three.images) and same(one.uncertainty, three.uncertainty)


def test_a_cpu_takes_one_slice_at_a_time_whatever_is_asked_for(model, monkeypatch):
    real, sizes = planes.PlaneSynthesizer._forward, []
    monkeypatch.setattr(planes.PlaneSynthesizer, "_forward", lambda s, b: sizes.append(len(b)) or real(s, b))
    monkeypatch.setattr(passes, "can_be_fast", lambda network: False)
    run({"us": fan(4)}, model, batch=4, samples=3)
    assert set(sizes) == {1}


def test_batch_size_changes_no_more_than_rounding(model, in_batches):
    us = fan(7, 50)
    one, five = (run({"us": us}, model, batch=batch, samples=3) for batch in (1, 5))
    for target, image in one.images.items():
        expected, found = array(image).astype(float), array(five.images[target])
        assert np.linalg.norm(found - expected) <= 1e-6 * np.linalg.norm(expected)
        deviation = array(one.uncertainty[target])
        np.testing.assert_allclose(array(five.uncertainty[target]), deviation, atol=1e-3)


def test_the_noise_of_a_slice_depends_on_seed_sample_and_slice_alone(model):
    us = fan(7)
    clipped = np.where(array(us) > 0, np.clip(array(us), 70, 130), 0)  # so that every slice has the volume's range
    us = volume_like(us, clipped)
    whole, again, other = (run({"us": us}, model, seed=seed) for seed in (3, 3, 4))
    clipped[[1, 2, 4, 5]] = 0
    lone = volume_like(us, clipped)
    alone = run({"us": lone}, model, seed=3)
    assert same(whole.images, again.images) and not same(whole.images, other.images)
    for target, image in whole.images.items():
        np.testing.assert_array_equal(array(alone.images[target])[3], array(image)[3])
        assert array(alone.images[target])[[0, 1, 2, 4, 5, 6]].max() == 0


def test_shared_noise_makes_equal_slices_equal(model):
    us = fan(5)
    for k in (2, 3):
        us[:, :, k] = us[:, :, 1]
    shared, independent = (array(run({"us": us}, model, noise=n).images["t2"]) for n in ("shared", "independent"))
    np.testing.assert_array_equal(shared[1], shared[2])
    assert not np.array_equal(independent[1], independent[2])


def test_noise_is_of_its_own_for_every_seed_sample_direction_slice_and_tile():
    places = [(3, 0, 0, 0, 0), *(tuple(3 * (n == 0) + (n == at) for n in range(5)) for at in range(5))]
    drawn = [slice_noise([(8,)], "independent", *place)[0] for place in places]
    assert len({level.tobytes() for level in drawn}) == 6
    shared = [slice_noise([(8,)], "shared", 3, 0, 0, plane, tile)[0] for plane, tile in ((0, 0), (7, 0), (7, 1))]
    assert (shared[0] == shared[1]).all() and (shared[0] != shared[2]).any()


def test_several_samples_give_their_mean_and_standard_deviation(model):
    us = fan(4)
    many = run({"us": us}, model, samples=4, targets=["t2"])
    singles = []
    for sample in range(4):
        # Each sample alone, by giving its number through the noise.
        def only(shapes, kind, seed, _, direction, plane, tile, sample=sample):
            return slice_noise(shapes, kind, seed, sample, direction, plane, tile)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(planes, "slice_noise", only)
            singles.append(array(run({"us": us}, model, targets=["t2"]).images["t2"]))
    np.testing.assert_allclose(array(many.images["t2"]), np.mean(singles, axis=0), atol=1e-3)
    np.testing.assert_allclose(array(many.uncertainty["t2"]), np.std(singles, axis=0, ddof=1), atol=1e-3)
    assert array(many.uncertainty["t2"]).max() > 0


def test_at_temperature_0_there_is_one_image_and_no_spread(model):
    us = fan(4)
    one, two = run({"us": us}, model, temperature=0), run({"us": us}, model, temperature=0, seed=5, samples=3)
    assert same(one.images, two.images)
    assert all(array(image).max() == 0 for image in two.uncertainty.values())


def test_empty_slices_do_not_go_through_the_network(model, monkeypatch):
    seen = []
    real = planes.PlaneSynthesizer._forward
    monkeypatch.setattr(
        planes.PlaneSynthesizer, "_forward", lambda self, batch: seen.extend(batch) or real(self, batch)
    )
    run({"us": fan(9)}, model)
    assert sorted(item.blend.plane for item in seen) == list(range(1, 8))


def test_progress_counts_slices_and_cancel_stops_between_them(model):
    reports, cancel, threads = [], threading.Event(), torch.get_num_threads()

    def progress(report):
        reports.append(report)
        if report.stage == "synthesis" and report.done == 2:
            cancel.set()

    request = SynthesisRequest({"us": fan(40)}, model=model, device="cpu", workers=2)
    with pytest.raises(Cancelled):
        synthesize(request, progress, cancel)
    assert reports[-1].total == 38 and reports[-1].done <= 6
    assert torch.get_num_threads() == threads and not any("ThreadPool" in t.name for t in threading.enumerate())


def test_the_callers_thread_gets_the_reports_and_keeps_its_thread_count(model):
    before, threads = torch.get_num_threads(), set()
    torch.set_num_threads(2)
    synthesize(
        SynthesisRequest({"us": fan(4)}, model=model, device="cpu"),
        lambda report: threads.add(threading.current_thread()),
    )
    assert threads == {threading.current_thread()} and torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_syntheses_that_overlap_leave_the_number_of_threads_as_it_was(model):
    def new():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(torch.get_num_threads).result()

    def held(begun, until):
        def progress(report):
            if report.stage == "synthesis" and report.done and not begun.is_set():
                begun.set()
                until.wait(60)

        return threading.Thread(target=synthesize, args=(request, progress))

    request, before = SynthesisRequest({"us": fan(4)}, model=model, device="cpu"), torch.get_num_threads()
    events = begun, also_begun, end = [threading.Event() for _ in range(3)]
    first, second = held(begun, also_begun), held(also_begun, end)
    torch.set_num_threads(2)
    try:
        first.start()
        assert begun.wait(60)
        second.start()
        first.join()
        assert new() == 1, "the second one still computes"
        preview(request)
        assert new() == 1
        end.set()
        second.join()
        assert new() == torch.get_num_threads() == 2
    finally:
        for event in events:
            event.set()
        torch.set_num_threads(before)


def test_provenance_says_how(model):
    request = SynthesisRequest({"us": fan(4)}, ["t2"], model, 0.5, 2, 9, "cpu", names={"us": "Case27"})
    provenance = synthesize(request).provenance
    assert provenance["inputs"] == {"us": "Case27"} and provenance["targets"] == ["t2"]
    assert (provenance["temperature"], provenance["samples"], provenance["seed"]) == (0.5, 2, 9)
    assert provenance["model"] == "random" and len(provenance["model_digest"]) == 64
    assert provenance["version"] and provenance["device"] == "cpu"


def test_preview_is_that_slice_of_the_whole_and_estimates_it(model):
    us = fan(8, spacing=(0.5, 0.5, 1.0))
    request = SynthesisRequest({"us": us}, model=model, device="cpu", workers=1)
    shown, whole = preview(request, 3), synthesize(request)
    assert shown.plane == 3 and shown.images["t2"].GetSize() == (32, 32, 1)
    np.testing.assert_array_equal(array(shown.images["t2"])[0], array(whole.images["t2"])[3])
    assert shown.seconds == pytest.approx(6 * shown.seconds_per_slice)
    assert preview(request).plane in (3, 4)
    with pytest.raises(InputError, match="Slice 0 of iUS is empty"):
        preview(request, 0)


def test_a_preview_tells_that_it_prepares_and_then_makes_the_slice(model):
    told = []
    request = SynthesisRequest({"us": fan(8, spacing=(0.5, 0.5, 1.0))}, model=model, device="cpu", workers=1)
    preview(request, 3, progress=told.append)
    stages = [(each.stage, each.done, each.total) for each in told]
    assert stages == [("preparing", 0, 1), ("preparing", 1, 1), ("preview", 0, 1), ("preview", 1, 1)]


@pytest.mark.parametrize("beside", [-1, 18])
def test_a_preview_beside_the_volume_is_an_error_though_the_models_planes_are_thicker(model, beside):
    us = fan(20, spacing=(0.5, 0.5, 0.2))[:, :, 1:-1]
    assert us.GetSize()[2] == 18
    with pytest.raises(InputError, match=f"Slice {beside} of iUS is empty or outside the volume"):
        preview(SynthesisRequest({"us": us}, model=model, device="cpu", workers=1), beside)


@pytest.mark.parametrize(
    ("inputs", "settings", "error", "message"),
    [
        ({"pet": fan()}, {}, InputError, "does not know the input pet"),
        ({"us": fan()}, {"targets": ["pet"]}, InputError, "does not know the output pet"),
        ({"us": fan() * 0}, {}, InputError, "iUS volume is empty"),
        ({"us": fan(), "t2": fan(origin=(900, 0, 0))}, {}, InputError, "do not overlap"),
        ({"us": fan()}, {"model": "absent.pth"}, ModelError, "absent.pth"),
        ({"us": "absent.nrrd"}, {}, InputError, "does not exist"),
        ({"us": fan()}, {"half_precision": True}, DeviceError, "Half precision"),
    ],
)
def test_bad_requests_end_before_any_work(model, monkeypatch, inputs, settings, error, message):
    monkeypatch.setattr(planes.PlaneSynthesizer, "__call__", lambda *_: pytest.fail("work started"))
    with pytest.raises(error, match=message):
        run(inputs, **{"model": model, **settings})


def test_an_absent_device_is_named_with_those_that_are_there(model):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(DeviceError, match="no device 'cuda' here. Choose among: auto, .*cpu"):
        synthesize(SynthesisRequest({"us": fan()}, model=model, device="cuda"))


def test_a_gpu_that_pytorch_has_no_kernels_for_is_passed_over(model, monkeypatch):
    # Here no GPU computes: as on a card that is older than its PyTorch knows.
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    monkeypatch.setattr(devices, "available_devices", lambda: ["cuda:0", "cpu"])
    assert str(devices.find_device("auto")) == "cpu"
    with pytest.raises(DeviceError, match="cannot compute on cuda:0.*Choose the device 'cpu'"):
        synthesize(SynthesisRequest({"us": fan()}, model=model, device="cuda"))
    assert devices.computes("cpu")


@pytest.mark.parametrize("reconstruction", ["joint", "own"])
def test_what_runs_on_gpus_gives_the_same_and_leaves_the_model_as_it_is(
    tmp_path, monkeypatch, in_batches, reconstruction
):
    model = model_file(tmp_path, reconstruction=reconstruction)
    inputs = half_covered()  # in some slices of a batch T2 covers the field, in others not
    expected = run(inputs, model)
    monkeypatch.setattr(passes, "can_be_fast", lambda network: False)
    for _ in range(2):  # the model's network is kept, and has to be whole the second time
        found = run(inputs, model, batch=4)
        for target, image in expected.images.items():
            np.testing.assert_allclose(array(found.images[target]), array(image), atol=1e-3)
    network = load(model).network
    folded = passes._folded(network)
    assert not [name for name, _ in folded.named_parameters() if "parametrizations" in name]
    assert [name for name, _ in network.named_parameters() if "parametrizations" in name]


def test_a_model_that_does_not_fit_into_memory_says_so(model, monkeypatch):
    def too_large(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(plan, "passes_through", too_large)
    with pytest.raises(DeviceError, match="memory"):
        run({"us": fan()}, model)


def test_where_an_input_ends_its_absence_is_no_input(model):
    """In a tile where T2 shows nothing the outcome is that of iUS alone; in one where it does, it is another."""
    us = fan(5, 80)  # three tiles a side
    t2 = array(fan(5, 80, seed=3)).copy()
    t2[:, :, 20:] = 0
    both = run({"us": us, "t2": volume_like(us, t2)}, model, temperature=0.0)
    alone = run({"us": us}, model, temperature=0.0)
    for target, image in alone.images.items():
        expected, found = array(image), array(both.images[target])
        np.testing.assert_allclose(found[..., 54:], expected[..., 54:], atol=1e-3)
        assert np.abs(found - expected)[..., :20].max() > 1


def half_covered(planes=5):
    us = fan(planes, 64)
    t2 = array(fan(planes, 64, seed=3)).copy()
    t2[1 : planes // 2 + 1, 40:] = 0
    return {"us": us, "t2": volume_like(us, t2)}


def test_what_is_given_comes_back_as_if_it_were_alone_where_the_model_says_so(tmp_path):
    path = model_file(tmp_path, size=64, reconstruction="own")
    inputs = half_covered()
    both = run(inputs, path, temperature=0.0).images
    alone = {m: array(run({m: image}, path, temperature=0.0).images[m]) for m, image in inputs.items()}
    shown = array(inputs["t2"]) > 0
    np.testing.assert_allclose(array(both["us"]), alone["us"], atol=1e-3)
    covered = shown.all(axis=(1, 2)) | (shown.sum(axis=(1, 2)) == (array(inputs["us"]) > 0).sum(axis=(1, 2)))
    np.testing.assert_allclose(array(both["t2"])[covered], alone["t2"][covered], atol=1e-3)
    # Beyond the end of T2 the iUS still says what is there.
    beyond = (array(inputs["us"]) > 0) & ~shown
    assert beyond.any() and (array(both["t2"])[beyond] > 0).all()


def test_an_input_has_no_say_where_its_field_of_view_ends(tmp_path):
    """Voxels are those of the network that is told where T2 ends, not of one that takes what lies beyond for black."""
    path = model_file(tmp_path, size=64)
    inputs = half_covered()
    found = run(inputs, path, temperature=0.0)
    network = load(path).network
    case = PreparedCase(inputs, network.sizes.modalities, SPACING, 64)
    k = 2
    tensors = {m: torch.from_numpy(image)[None, None] for m, image in case.plane(k).items()}
    ends = torch.ones(1, 1, 64, 64)
    ends[..., 40:] = 0  # columns run along J
    noise = [torch.zeros(1, *shape) for shape in network.sizes.noise_shapes()]
    with torch.no_grad():
        told, untold = (network(tensors, noise, 0.0, coverage=c).images for c in ({"t2": ends}, {}))
    for target, image in found.images.items():
        voxels = array(image)[k].T
        np.testing.assert_allclose(voxels, to_image(told[target][0, 0].numpy()), atol=1e-2)
        assert np.abs(voxels - to_image(untold[target][0, 0].numpy())).max() > 1


def test_out_of_memory_takes_smaller_batches_with_the_same_result(model, in_batches, monkeypatch):
    us, real, sizes = fan(10), planes.PlaneSynthesizer._forward, []

    def scarce(self, batch):
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return real(self, batch)

    monkeypatch.setattr(planes.PlaneSynthesizer, "_forward", scarce)
    found = run({"us": us}, model, batch=8, workers=1)
    monkeypatch.undo()
    expected = run({"us": us}, model)
    for target, image in expected.images.items():
        np.testing.assert_allclose(array(found.images[target]), array(image), atol=1e-3)
    assert sizes[0] == 8 and set(sizes[-2:]) <= {1, 2}


_WINDOWS = RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried to allocate")


@pytest.mark.parametrize("error", [RuntimeError("MPS backend out of memory"), _WINDOWS, MemoryError()])
def test_no_memory_for_a_single_slice_says_so(model, in_batches, monkeypatch, error):
    def nothing_left(self, batch):
        raise error

    monkeypatch.setattr(planes.PlaneSynthesizer, "_forward", nothing_left)
    with pytest.raises(DeviceError, match="memory"):
        run({"us": fan(4)}, model, batch=4)
    assert "device 'cpu'" in str(devices.out_of_memory(torch.device("cuda")))


@pytest.mark.parametrize("error", [RuntimeError("Failed to allocate memory for image."), MemoryError()])
@pytest.mark.parametrize("call", [synthesize, preview])
def test_no_memory_outside_the_network_says_so(model, monkeypatch, call, error):
    def nothing_left(*_):
        raise error

    request = SynthesisRequest({"us": fan()}, model=model, device="cpu")
    monkeypatch.setattr(sitk, "GetImageFromArray", nothing_left)
    with pytest.raises(DeviceError, match="The memory of this machine ran out: close other programs"):
        call(request)


@pytest.mark.parametrize(("directions", "volumes"), [(1, 2), (3, 5)])
def test_no_memory_for_the_results_shows_before_any_work(model, monkeypatch, directions, volumes):
    us, left = fan(40, 40), [volumes]

    def scarce(make):
        def taken(shape, dtype=float, *more, **words):
            left[0] -= dtype == np.float32 and np.prod(shape) == us.GetNumberOfPixels()
            if left[0] < 0:
                raise MemoryError
            return make(shape, dtype, *more, **words)

        return taken

    for name in ("zeros", "empty"):
        monkeypatch.setattr(np, name, scarce(getattr(np, name)))
    monkeypatch.setattr(planes.PlaneSynthesizer, "__call__", lambda *_: pytest.fail("work started"))
    with pytest.raises(DeviceError, match="memory"):
        run({"us": us}, model, targets=["t2", "flair"], directions=directions)


def test_a_fault_of_the_network_is_not_taken_for_lack_of_memory(model, monkeypatch):
    def broken(self, batch):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(planes.PlaneSynthesizer, "_forward", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        run({"us": fan(4)}, model)


def test_batches_fit_into_half_of_the_free_memory():
    from MMHVAESynthesisLib.network.sizes import NetworkSizes

    released = NetworkSizes()
    assert devices.batch_for(0, released) == 1
    assert devices.batch_for(2**40, released) == 32
    batch = devices.batch_for(2_000_000_000, released)
    assert batch * 66e6 <= 1e9 < (batch + 2) * 75e6


@pytest.mark.parametrize(("free", "asked", "batch"), [(3e9, None, 21), (100e6, None, 1), (80e9, None, 32), (3e9, 5, 5)])
def test_on_cuda_a_batch_is_sized_by_the_free_memory(monkeypatch, free, asked, batch):
    from MMHVAESynthesisLib.network.sizes import NetworkSizes

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(devices, "computes", lambda device: True)
    seen = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: seen.append(device) or (int(free), 80_000_000_000))
    for name, device in (("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1")):
        request = SynthesisRequest({"us": fan()}, device=name, half_precision=True, batch=asked, workers=3)
        found = devices.find_resources(request, NetworkSizes())
        assert (str(found.device), found.workers, found.batch, found.half_precision) == (device, 1, batch, True)
        assert asked or str(seen[-1]) == device


def test_the_callers_random_state_is_left_alone(model):
    torch.manual_seed(1)
    np.random.seed(1)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(1)
    np.random.seed(1)
    run({"us": fan(4)}, model)
    found = torch.rand(3), np.random.rand(3)
    assert torch.equal(found[0], expected[0]) and np.array_equal(found[1], expected[1])
