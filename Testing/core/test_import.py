import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2] / "MMHVAESynthesis"

WITHOUT_TORCH = """
import sys
sys.path.insert(0, {root!r})
sys.modules["torch"] = None
import MMHVAESynthesisLib.request, MMHVAESynthesisLib.synthesis.engine, MMHVAESynthesisLib.__main__
from MMHVAESynthesisLib.errors import DependencyError
MMHVAESynthesisLib.__main__.parser()
request = MMHVAESynthesisLib.request.SynthesisRequest({{"us": "absent.nrrd"}})
try:
    MMHVAESynthesisLib.synthesis.engine.synthesize(request)
except DependencyError as error:
    assert "PyTorch is not installed" in str(error), error
else:
    raise SystemExit("no error")
for words in (["train", "--state", "absent"], ["evaluate", "--output-dir", "absent"]):
    code = MMHVAESynthesisLib.__main__.main([*words, "--data", {root!r}])
    assert code == DependencyError.exit_code, (words, code)
"""


def test_without_torch_all_loads_and_work_is_one_clear_sentence():
    code = WITHOUT_TORCH.format(root=str(ROOT))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_torch_is_imported_before_there_is_work():
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import MMHVAESynthesisLib.__main__ as main, MMHVAESynthesisLib.synthesis.engine\n"
        "main.parser()\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
