"""One script that does all the set-up on a fresh machine, then the work.

::

    python3 Testing/run.py demo               the main job on an example: volumes, a scene and a picture in demo-output
    python3 Testing/run.py test [arguments]   the tests; the arguments go to pytest
    python3 Testing/run.py test39             the torch-free rooms' tests with Python 3.9, where this machine has one

It makes private environments in the folder ``.venv`` of this checkout, or in the folder that the environment variable
MMHVAE_ENVIRONMENTS names (on another disk, say), and installs nothing anywhere else. To start afresh, delete that
folder. Only Python's own library is used here.
"""

import glob
import hashlib
import os
import platform
import shutil
import subprocess
import sys

OLDEST, NEWEST = (3, 10), (3, 13)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ENVIRONMENTS = os.path.abspath(os.environ.get("MMHVAE_ENVIRONMENTS") or os.path.join(ROOT, ".venv"))
REQUIREMENTS = os.path.join(ROOT, "Testing", "requirements.txt")
REQUIREMENTS_39 = os.path.join(ROOT, "Testing", "requirements-python39.txt")
SUITES_39 = ["Testing/core", "Testing/volumes", "Testing/ultrasound"]

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
GIGABYTE = 10**9
SPACE_NEEDED = 4 * GIGABYTE
NO_NETWORK = ("NewConnectionError", "NameResolutionError", "ConnectTimeout", "ProxyError", "Network is unreachable")
DISK_FULL = ("No space left on device", "Errno 28", "not enough space on the disk")

sys.dont_write_bytecode = True


def stop(sentence):
    """End with one sentence for the user."""
    sys.stdout.flush()
    raise SystemExit("run.py: " + sentence)


def check_python():
    """Stop unless this Python is one that all the packages exist for."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        stop(
            f"this is Python {platform.python_version()}, and Python 3.10, 3.11, 3.12 or 3.13 is needed. "
            "Start it with one of these, for example: python3.12 Testing/run.py"
        )


def python_of(environment):
    """Return the Python program of a virtual environment."""
    windows = os.name == "nt"
    return os.path.join(environment, "Scripts" if windows else "bin", "python.exe" if windows else "python")


def child_settings():
    """Return the environment variables of every child process: nothing of the user's own Python set-up leaks in."""
    unwanted = ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_REQUIRE_VIRTUALENV")
    settings = {name: value for name, value in os.environ.items() if name not in unwanted}
    settings.update(PYTHONNOUSERSITE="1", PYTHONUTF8="1", PIP_USER="0")
    if sys.platform.startswith("linux"):
        settings.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
        settings.setdefault("QT_QPA_PLATFORM", "offscreen")
    return settings


def run(command):
    """Run ``command`` in the checkout and return its exit code, as a shell would show it."""
    sys.stdout.flush()
    code = subprocess.call(command, cwd=ROOT, env=child_settings())
    return 128 - code if code < 0 else code


class Environment:
    """A virtual environment below ``.venv`` that holds exactly what one requirements file lists.

    A stamp is written when everything is installed. Where it is missing (the set-up was interrupted) or does not
    fit (the requirements have changed), the environment is made anew.
    """

    def __init__(self, base_python, version, requirements):
        self.base_python = base_python
        self.folder = os.path.join(ENVIRONMENTS, "python" + version)
        self.requirements = requirements
        self.python = python_of(self.folder)
        self._stamp = os.path.join(self.folder, "complete.txt")
        self._log = os.path.join(ENVIRONMENTS, "setup-python" + version + ".log")

    def _fingerprint(self):
        with open(self.requirements, "rb") as file:
            return hashlib.sha256(file.read() + self.folder.encode("utf-8")).hexdigest()

    def _is_ready(self):
        try:
            with open(self._stamp, encoding="utf-8") as file:
                return file.read() == self._fingerprint() and os.path.exists(self.python)
        except OSError:
            return False

    def prepare(self, install):
        """Make the environment with ``install(self)`` unless it is ready."""
        if self._is_ready():
            return
        try:
            self._make(install)
        except KeyboardInterrupt:
            stop("interrupted; the next start does the set-up anew.")
        except OSError as error:
            stop(f"the environment cannot be made in {self.folder}: {error}.")

    def _make(self, install):
        anew = os.path.exists(self.folder)
        print("{} the private environment {}".format("Making anew" if anew else "Making", self.folder))
        if anew:
            shutil.rmtree(self.folder)
        os.makedirs(ENVIRONMENTS, exist_ok=True)
        open(self._log, "w", encoding="utf-8").close()
        if self._logged([self.base_python, "-m", "venv", self.folder]):
            stop(
                "Python cannot make a virtual environment here (on Debian and Ubuntu, install python3-venv). "
                + self._reason()
            )
        install(self)
        with open(self._stamp, "w", encoding="utf-8") as file:
            file.write(self._fingerprint())

    def _logged(self, command):
        """Run ``command`` with its output in the log and return its exit code."""
        with open(self._log, "ab") as log:
            return subprocess.call(
                command, cwd=ROOT, env=child_settings(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _reason(self):
        with open(self._log, encoding="utf-8", errors="replace") as file:
            text = file.read()
        if any(mark in text for mark in DISK_FULL):
            return "The disk is full: about 4 GB are needed."
        if any(mark in text for mark in NO_NETWORK):
            return "The package index cannot be reached: check the network connection, then start again."
        errors = [line for line in text.splitlines() if line.startswith("ERROR")]
        return (errors[-1] + " " if errors else "") + f"All that was printed is in {self._log}."

    def pip(self, *arguments):
        """Install with pip; return whether it worked."""
        # Without its cache, since nothing is to be left outside the folder.
        general = ["install", "--disable-pip-version-check", "--no-input", "--no-cache-dir", "--only-binary", ":all:"]
        return self._logged([self.python, "-m", "pip", *general, *arguments]) == 0

    def pip_all(self):
        """Install everything that the requirements file lists; stop with the reason where that fails."""
        print(f"Installing what {os.path.relpath(self.requirements, ROOT)} lists ...")
        sys.stdout.flush()
        if not self.pip("-r", self.requirements):
            stop("the packages could not be installed. " + self._reason())


def torch_requirement():
    """Return the line of the requirements that names torch."""
    with open(REQUIREMENTS, encoding="utf-8") as file:
        return next(line.strip() for line in file if line.startswith("torch=="))


def install_everything(environment):
    """Install what the tests and the demo need, with a torch for the CPU where one is to be had."""
    if shutil.disk_usage(ENVIRONMENTS).free < SPACE_NEEDED:
        stop(
            f"there is too little space on the disk of {ENVIRONMENTS}: about 4 GB are needed. The environment variable "
            "MMHVAE_ENVIRONMENTS can name a folder elsewhere."
        )
    print("This happens once, takes a few minutes and about 3 GB.")
    # Elsewhere the package index has none but builds for the CPU (and Apple's own processors).
    if sys.platform.startswith("linux"):
        install_cpu_torch(environment)
    environment.pip_all()


def install_cpu_torch(environment):
    """Install torch alone, built for the CPU; say so where only the build for NVIDIA's processors is to be had."""
    cpu_build = torch_requirement() + "+cpu"
    print(f"Installing {cpu_build} ...")
    sys.stdout.flush()
    sources = ([], ["--index-url", CPU_INDEX, "--retries", "0", "--timeout", "10"])
    if not any(environment.pip("--no-deps", cpu_build, *source) for source in sources):
        print("PyTorch's own index of CPU builds cannot be reached or has none for this Python and machine.")
        print("Taking PyTorch from the package index: with NVIDIA's libraries, several GB more to download and keep.")


def working_python39():
    """Return a Python 3.9 of this machine, or None."""
    pyenv = os.environ.get("PYENV_ROOT", os.path.join(os.path.expanduser("~"), ".pyenv"))
    candidates = [
        shutil.which("python3.9"),
        *sorted(glob.glob(os.path.join(pyenv, "versions", "3.9.*", "bin", "python"))),
    ]
    for candidate in filter(None, candidates):
        try:
            version = subprocess.check_output(
                [candidate, "-c", "import sys, venv; print(sys.version_info[:2] == (3, 9))"],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except (OSError, subprocess.CalledProcessError):
            continue  # pyenv leaves a python3.9 in the path even where it is switched off
        if version.strip() == b"True":
            return candidate
    return None


def prepared():
    """Return the Python of the environment that the tests and the demo run in."""
    environment = Environment(sys.executable, "{}.{}".format(*sys.version_info), REQUIREMENTS)
    environment.prepare(install_everything)
    return environment.python


def demo(arguments):
    """Run the demonstration."""
    return run([prepared(), os.path.join("Testing", "demo.py"), *arguments])


def test(arguments):
    """Run the tests."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return run([prepared(), "-m", "pytest", "--durations=10", *arguments])


def test39(arguments):
    """Run the suites of the rooms that need no torch with the oldest Python that Slicer's users have."""
    python39 = working_python39()
    if python39 is None:
        print("Skipped: the tests with Python 3.9, since this machine has no python3.9.")
        return 0
    environment = Environment(python39, "3.9", REQUIREMENTS_39)
    environment.prepare(Environment.pip_all)
    return run([environment.python, "-m", "pytest", "-q", *SUITES_39, *arguments])


def main():
    """Do what the command line says."""
    commands = {"demo": demo, "test": test, "test39": test39}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        print(__doc__.strip())
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    check_python()
    return commands[sys.argv[1]](sys.argv[2:])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
