import csv
import importlib.util
import json
import re

import pytest
import torch

from commands.trained import make_images, make_run, open_source
from msgformer.commands.benchmark import FORMATS, benchmark
from msgformer.errors import UserError
from msgformer.profiling import backends as benchmark_backends
from msgformer.profiling import roofline, timing_run
from msgformer.profiling.backends import export_file

CPU = {"device": "cpu", "progress": "none"}
ALLOCATOR = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"


@pytest.fixture(scope="module", autouse=True)
def short_rooflines():
    """Measure each operation only a few times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(roofline, "MIN_SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("timed")
    return make_run(make_images(folder / "data"), folder / "run", epochs=1)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A model in two backends with two sizes and two batches."""
    folder = tmp_path_factory.mktemp("benchmark") / "times"
    options = {"batch_size": [1, 2], "img_size": [(32, 32), (48, 32)], "rounds": 2, "threads": 1, "output": folder}
    before = torch.get_num_threads()
    result = benchmark(["test_resnet"], backend=["optimized", "eager"], **options, **CPU)
    assert torch.get_num_threads() == before
    return result


def test_all_backends_are_timed_with_all_sizes_and_batches(written):
    assert [(one.height, one.width, one.batch, one.model, one.backend) for one in written.timings] == [
        (*size, batch, "test_resnet", backend)
        for size in ((32, 32), (48, 32))
        for batch in (1, 2)
        for backend in ("optimized", "eager")
    ]
    assert written.reference == "test_resnet (optimized)"
    for one in written.timings:
        assert len(one.seconds) == 2
        assert one.low_ms <= one.ms <= one.high_ms
        assert one.of_limit == pytest.approx(one.ms / one.floor_ms)
        assert one.backend != "optimized" or (one.low_ratio, one.high_ratio) == (1, 1)
    rooflines = [one.floor_ms for one in written.timings]
    assert rooflines[::2] == rooflines[1::2]  # independent of the backend


def test_json_and_csv_hold_the_numbers_and_the_machine(written):
    stored = json.loads((written.output / "benchmark.json").read_text(encoding="utf-8"))
    assert stored["timings"][3]["seconds"] == written.timings[3].seconds
    assert {"processor", "cores", "threads", "gpus"} <= set(stored["machine"])
    assert stored["machine"]["threads"] == 1
    assert stored["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert (stored["mode"], stored["precision"], stored["device"], stored["rounds"]) == ("infer", "float32", "cpu", 2)
    with (written.output / "benchmark.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["batch"] for row in rows] == ["1", "1", "2", "2"] * 2
    assert float(rows[5]["ms"]) == written.timings[5].ms


def test_plots_show_sizes_and_batches(written):
    plots = {path.name for path in written.output.iterdir()} - {"benchmark.json", "benchmark.csv"}
    assert plots == {"latency.svg", "latency.png", "throughput.svg", "throughput.png"}


def test_the_table_has_settings_and_machine(written):
    table = written.table()
    assert re.search(r"^MODEL +BACKEND +BATCH +SIZE +MS .* RATIO .* X ROOFLINE$", table, re.MULTILINE)
    assert re.search(r"^test_resnet +optimized +2 +48 x 32 ", table, re.MULTILINE)
    assert "infer, float32, 2 interleaved rounds, ratios to test_resnet (optimized)" in table
    assert (
        f"{written.machine['processor']}, 1 of {written.machine['cores']} cores; torch {torch.__version__[:4]}" in table
    )


def test_ratios_are_medians_of_pairs_per_image(monkeypatch):
    """Also for a model whose batch is halved to fit in memory."""
    prepare_torch = timing_run.prepare_torch

    def limited_memory(source, backend, images, setting):
        if source.card.model == "test_convnext" and len(images) > 2:
            raise RuntimeError(ALLOCATOR)
        return prepare_torch(source, backend, images, setting)

    def fake_times(runs, rounds, warm_up):
        assert (len(runs), rounds, warm_up) == (2, 3, timing_run.WARM_UP)
        return [[4.0, 8.0, 40.0], [1.0, 4.0, 30.0]]

    monkeypatch.setattr(timing_run, "prepare_torch", limited_memory)
    monkeypatch.setattr(timing_run, "time_interleaved", fake_times)
    result = benchmark(["test_resnet"], against="test_convnext", batch_size=4, img_size=32, rounds=3, **CPU)
    first, second = result.timings
    assert result.reference == "test_convnext (eager)"
    assert (first.batch, first.ms, first.images_per_second) == (4, 8000, 0.5)
    assert (second.batch, second.low_ms, second.ms, second.high_ms) == (2, 2500, 4000, 17000)
    assert (second.low_ratio, second.ratio, second.high_ratio) == (1, 1, 1)
    pairs = [2, 1, 2 / 3]  # of seconds per image
    assert (first.low_ratio, first.ratio) == (pytest.approx((pairs[1] + pairs[2]) / 2), 1)
    assert first.high_ratio == pytest.approx((pairs[0] + pairs[1]) / 2)


def test_out_of_memory_is_reported(monkeypatch):
    def out_of_memory(*arguments):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(timing_run, "time_interleaved", out_of_memory)
    with pytest.raises(UserError, match="out of memory with all models loaded; give fewer"):
        benchmark(["test_resnet"], img_size=32, **CPU)
    monkeypatch.setattr(timing_run, "prepare_torch", out_of_memory)
    with pytest.raises(UserError, match=r"out of memory for test_resnet \(eager\) even with one image of 32 x 32"):
        benchmark(["test_resnet"], batch_size=4, img_size=32, **CPU)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_training_steps_are_timed_without_a_roofline(precision, monkeypatch):
    steps = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda *given: steps.append(step(*given)))
    result = benchmark(["test_resnet"], mode="train", precision=precision, batch_size=2, img_size=32, rounds=1, **CPU)
    (one,) = result.timings
    assert (one.floor_ms, one.of_limit) == (None, None)
    assert len(steps) >= timing_run.FIRST_RUNS + timing_run.WARM_UP + 1
    assert re.search(r"-$", result.table().splitlines()[1])


def test_weights_and_images_have_the_number_format():
    setting = benchmark_backends.Setting("infer", "bf16", torch.device("cpu"), None, (32, 32))
    assert setting.images(2, 3).dtype is torch.bfloat16
    (one,) = benchmark(["test_resnet"], precision="bf16", img_size=32, rounds=1, **CPU).timings
    assert one.ms > 0


def test_runs_and_exported_files_are_timed_as_well(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(FORMATS, "onnxruntime", "torch-export")  # in the place of ONNX, which takes its time
    file = export_file(open_source(run, (16, 16)), "onnxruntime", 1, tmp_path)
    options = {"img_size": 16, "rounds": 1, "device": "cpu", "progress": "lines"}
    result = benchmark([str(run), str(file)], backend=["eager", "onnxruntime"], **options)
    assert [(one.model, one.backend) for one in result.timings] == [
        (str(run), "eager"),
        (str(run), "onnxruntime"),
        (str(file), "torch-export"),
    ]
    assert [one.floor_ms is None for one in result.timings] == [False, False, True]
    assert f"batch 1, 16 x 16: preparing {file} (torch-export)\n" in capsys.readouterr().err
    with pytest.raises(UserError, match="is an exported file, which only infers in its own precision"):
        benchmark([str(file)], mode="train", **CPU)
    with pytest.raises(UserError, match=r"takes images of 16 x 16 pixels, not of 24 x 24"):
        benchmark([str(file)], img_size=24, **CPU)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rounds": 0}, "rounds must be at least 1, not 0"),
        ({"threads": 0}, "threads must be at least 1, not 0"),
        ({"batch_size": [4, 0]}, "batch_size must be at least 1, not 0"),
        ({"img_size": [(32, 0)]}, "img_size must be at least 1, not 0"),
        ({"img_size": [32, 64, 96]}, r"img_size: \[32, 64, 96\] isn't height and width"),
        ({"mode": "train", "backend": "openvino"}, "openvino can't train; use one of eager, compile, cudagraphs, rec"),
        (
            {"backend": ["eager", "recompute"]},
            "recompute saves memory in training only; add --mode train, or use eager",
        ),
        ({"mode": "train", "precision": "fp16"}, "training in fp16 needs loss scaling"),
        ({"backend": "onnxruntime", "precision": "bf16"}, "onnxruntime supports only float32 here, not bf16"),
        ({"backend": "cudagraphs"}, "cudagraphs needs an NVIDIA GPU, but the device is the CPU; use compile instead"),
        ({"precision": "tf32"}, "tf32 needs a GPU, but the device is the CPU"),
        ({"device": "abacus"}, "device must be auto, cpu, cuda or cuda:N, not 'abacus'"),
        ({"models": ["test_vitt"]}, r"unknown model 'test_vitt'; did you mean 'test_vit"),
        ({"models": ["nowhere.ckpt"]}, "no such file or folder: nowhere.ckpt"),
        (
            {"models": ["test_vit"], "img_size": 33},
            r"test_vit does not accept images of 33 x 33 \(.*\); give another --img_size",
        ),
    ],
)
def test_unsupported_settings_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        benchmark(**{"models": ["test_resnet"], "img_size": 32, **CPU, **arguments})


def test_outputs_packages_and_compilers_are_checked_first(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="isn't empty; pass --overwrite or another --output"):
        benchmark(["test_resnet"], output=tmp_path, **CPU)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match=r"backend compile needs a C\+\+ compiler .*or leave --backend compile out"):
        benchmark(["test_resnet"], backend="compile", **CPU)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(
        UserError, match=r"backend openvino needs the package 'openvino'; install it with: uv sync --extra openvino"
    ):
        benchmark(["test_resnet"], backend="openvino", **CPU)


def test_a_mistake_is_reported_before_heavy_imports(run_light):
    done = run_light("benchmark", "msg_transformer_tinny", "--batch_size", "1", "8")
    assert done.returncode == 2
    assert "did you mean 'msg_transformer_tiny'" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["infer", "train"])
def test_compiled_models_are_timed(run, mode):
    from torch._dynamo.utils import counters  # slow to import
    from torch._inductor.utils import fresh_inductor_cache

    packed = "mkldnn_linear_weight_pack_matcher_count"
    counters["inductor"][packed] = 0
    with fresh_inductor_cache():
        result = benchmark(
            [str(run)], mode=mode, backend=["eager", "compile"], batch_size=2, img_size=16, rounds=1, **CPU
        )
    assert [one.backend for one in result.timings] == ["eager", "compile"]
    if torch.backends.mkl.is_available():  # which lays weights out where they are constants
        assert (counters["inductor"][packed] > 0) == (mode == "infer")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_models_are_exported_to_be_timed(run, backend):
    pytest.importorskip(backend)
    (one,) = benchmark([str(run)], backend=backend, batch_size=2, img_size=16, rounds=1, **CPU).timings
    assert (one.backend, one.batch) == (backend, 2)
    assert one.floor_ms > 0
