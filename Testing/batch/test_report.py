import csv
import errno
import html.parser
import io
import json
import re
import shutil
import subprocess

import pytest

pytest.importorskip("torch")

from MMHVAESynthesisLib.__main__ import main  # noqa: E402
from MMHVAESynthesisLib.batch import report  # noqa: E402
from MMHVAESynthesisLib.batch.cases import Case  # noqa: E402
from MMHVAESynthesisLib.batch.runner import run_batch  # noqa: E402
from MMHVAESynthesisLib.batch.table import read_table  # noqa: E402
from MMHVAESynthesisLib.batch.work import FAILED, Outcome  # noqa: E402
from MMHVAESynthesisLib.errors import Cancelled, OutputError  # noqa: E402
from MMHVAESynthesisLib.volumes.files import write  # noqa: E402
from synthesis.making import fan  # noqa: E402

from .conftest import GOOD  # noqa: E402
from .making import BROKEN  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.images, self.rows, self.ids, self.links, self.text = [], 0, [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.images += [values["src"]] if tag == "img" else []
        self.rows += tag == "tr"
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[name] for name in ("href", "src") if name in values and tag != "img"]

    def handle_data(self, data):
        self.text += data


def test_the_page_shows_every_case_and_loads_nothing(undisturbed):
    result, folder, _ = undisturbed
    assert result.report == folder / "report.html"
    page = Page(result.report.read_text(encoding="utf-8"))
    assert page.rows == 1 + GOOD + len(BROKEN)
    # iUS, T2 and its uncertainty; every third case one T2 more as input, every third one as pre-operative MR.
    assert len(page.images) == 3 * GOOD + 2 * GOOD // 3
    assert all(source.startswith("data:image/png;base64,") for source in page.images)
    assert all(link == "data:," or (link[0] == "#" and link[1:] in page.ids) for link in page.links)
    assert all(reason in page.text for reason in BROKEN.values())
    assert f"30 cases: {GOOD} done, {len(BROKEN)} failed." in page.text
    assert "Settings: targets T2, temperature 0.7, samples 2, seed 5." in page.text
    above = page.text[: page.text.index("A click on a")]
    assert all(case in above and reason in above for case, reason in BROKEN.items())


def test_the_table_has_the_figures_of_the_provenance(undisturbed, table):
    result, folder, _ = undisturbed
    text = result.table.read_bytes().decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["case"] for row in rows] == [case.name for case in read_table(table)]
    for row in rows:
        if row["state"] == "failed":
            assert BROKEN[row["case"]] in row["reason"] and not row["seconds"]
            continue
        provenance = json.loads((folder / row["case"] / "provenance.json").read_text(encoding="utf-8"))
        figures = provenance["quality"]["targets"]["t2"]
        assert float(row["uncertainty_t2"]) == figures["uncertainty"]["mean"]
        assert row["compared_with_t2"] == (figures["similarity"] or {"to": ""})["to"]
        assert row["inputs"] == ("iUS, T2" if "t2" in provenance["inputs"] else "iUS")
        assert row["warnings"] == " | ".join(provenance["warnings"])


def test_names_and_reasons_cannot_break_the_page(tmp_path):
    # No file system holds such a name, but a reason may.
    cases = [Case("<b>&\"'</b>")]
    reason = "</p><script>alert('{x}')</script>"
    page, table = report.write(cases, [Outcome(cases[0].name, FAILED, reason)], tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text and "<b>" not in text and text.count("<script>") == 1
    assert cases[0].name in Page(text).text and reason in Page(text).text
    assert reason in table.read_text(encoding="utf-8-sig")


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [("uncertainty_t2", 3.14159, "3.1"), ("correlation_cet1", -0.004, "0.00"), ("correlation_t2", -0.25, "-0.25"),
     ("confidence_mm", 0.26, "0.3"), ("warnings", 3, "3"), ("seconds", 1234.56, "1234.6"), ("overlap", 1, "1.00")],
)  # fmt: skip
def test_numbers_are_no_finer_than_they_mean(column, value, shown):
    assert report.figures.number(column, value) == shown


# Run behind the page's own script: clicks on every column twice and writes down what then stands where.
PROBE = """
<script>
const seen = [];
const cells = (n) => Array.from(table.tBodies[0].rows, (row) => row.cells[n].textContent);
Array.from(table.tHead.rows[0].cells).forEach((head, n) => {
  head.querySelector("button").click();
  const up = [head.ariaSort, cells(n)];
  head.querySelector("button").click();
  seen.push({ name: head.textContent, up, down: [head.ariaSort, cells(n)] });
});
const broken = Array.from(document.images).filter((image) => !(image.complete && image.naturalWidth > 60)).length;
const pre = document.createElement("pre");
pre.id = "probe";
pre.textContent = JSON.stringify({ seen, images: document.images.length, broken });
document.body.append(pre);
</script>
</body>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_in_a_browser_all_pictures_are_there_the_table_sorts_and_nothing_is_complained_of(undisturbed, tmp_path):
    page = tmp_path / "page.html"
    text = undisturbed[0].report.read_text(encoding="utf-8")
    page.write_text(text.replace("</body>", PROBE), encoding="utf-8")
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0", "--dump-dom"]
    done = subprocess.run(
        [CHROMIUM, *words, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()],
        capture_output=True, timeout=120, encoding="utf-8",
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr, done.stderr
    probe = html.unescape(re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL).group(1))
    found = json.loads(probe)
    assert found["broken"] == 0 and found["images"] == 3 * GOOD + 2 * GOOD // 3
    by_name = {column["name"]: column for column in found["seen"]}
    for column in found["seen"]:
        assert (column["up"][0], column["down"][0]) == ("ascending", "descending")
        assert sorted(column["up"][1]) == sorted(column["down"][1])
    seconds = by_name["uncertainty T2"]
    numbers = [[float(value) for value in way[1] if value] for way in (seconds["up"], seconds["down"])]
    assert numbers[0] == sorted(numbers[0]) == numbers[1][::-1] and len(numbers[0]) == GOOD
    # What is not known comes last, either way.
    assert seconds["up"][1][-3:] == seconds["down"][1][-3:] == [""] * 3
    assert by_name["state"]["up"][1] == ["done"] * GOOD + ["failed"] * 3


def test_cases_of_another_table_in_the_same_folder_stay_in_the_report(tmp_path, settings):
    us = str(write(fan(4), tmp_path / "us.nrrd"))
    run_batch([Case("a", {"us": us}), Case("b", {"us": us})], settings, tmp_path / "out")
    (tmp_path / "out" / "no case").mkdir()
    result = run_batch([Case("c", {"us": us}), Case("b", {"us": us})], settings, tmp_path / "out")
    assert [outcome.state for outcome in result.outcomes] == ["done", "kept"]
    rows = list(csv.DictReader(io.StringIO(result.table.read_text(encoding="utf-8-sig"), newline="")))
    states = {"c": "done", "b": "done", "a": "earlier results (not checked)"}
    assert {row["case"]: row["state"] for row in rows} == states
    page = Page(result.report.read_text(encoding="utf-8"))
    assert "3 cases: 2 done, 1 earlier results (not checked)." in page.text and page.rows == 1 + 3


@pytest.fixture
def cases(tmp_path):
    """Two cases that can be done, and one that cannot."""
    us = str(write(fan(4), tmp_path / "us.nrrd"))
    return [Case("a", {"us": us}), Case("b", {"us": us}), Case("c", {"us": str(tmp_path / "absent.nrrd")})]


def rows_of(table):
    return {row["case"]: row for row in csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig"), newline=""))}


@pytest.mark.parametrize("how", ["moved", "deleted", "cut off"])
def test_a_finished_case_that_is_gone_at_the_end_is_said_to_be(tmp_path, settings, cases, how):
    out = tmp_path / "out"

    def take(step):
        if (step.stage, step.done) != ("cases", 2):
            return
        if how == "moved":
            (out / "a").rename(tmp_path / "archive")
        elif how == "deleted":
            shutil.rmtree(out / "a")
        else:
            (out / "a" / "provenance.json").write_bytes(b"{")

    result = run_batch(cases, settings, out, take)
    assert [outcome.state for outcome in result.outcomes] == ["done", "done", "failed"]
    rows = rows_of(result.table)
    assert [rows[name]["state"] for name in "abc"] == ["done but gone", "done", "failed"]
    assert "start the same command again" in rows["a"]["reason"] and rows["a"]["inputs"] == "iUS"
    page = Page(result.report.read_text(encoding="utf-8"))
    assert "3 cases: 1 done, 1 done but gone, 1 failed." in page.text and len(page.images) == 3
    assert "start the same command again" in page.text[: page.text.index("A click on a")]


def test_without_the_folder_of_results_there_is_still_a_summary(tmp_path, settings, cases):
    out = tmp_path / "out"
    result = run_batch(cases, settings, out, lambda step: step.done == 3 and out.rename(tmp_path / "archive"))
    assert [outcome.state for outcome in result.outcomes] == ["done", "done", "failed"]
    assert result.report is None and result.table is None and result.summary()["exit_code"] == 9
    assert (tmp_path / "archive" / "a" / "provenance.json").is_file()


def test_where_all_is_done_but_the_report_the_exit_code_says_so(tmp_path, settings, cases, monkeypatch):
    def refuse(source, target):
        raise PermissionError(errno.EACCES, "The process cannot access the file")

    good, out = cases[:1], tmp_path / "out"
    assert run_batch(good, settings, out).summary()["exit_code"] == 0
    monkeypatch.setattr(report, "move", refuse)
    assert run_batch(good, settings, out).summary()["exit_code"] == OutputError.exit_code


def test_a_picture_that_cannot_be_read_is_left_out(tmp_path, settings, cases):
    out = tmp_path / "out"

    def spoil(step):
        if (step.stage, step.done) == ("cases", 1):
            (out / "a" / "synthetic-T2.png").unlink()

    page = Page(run_batch(cases[:1], settings, out, spoil).report.read_text(encoding="utf-8"))
    assert len(page.images) == 2 and "synthetic T2" not in page.text and "uncertainty T2" in page.text


@pytest.mark.parametrize("name", ["report.csv", "report.html"])
def test_a_report_that_is_held_open_costs_neither_summary_nor_exit_code(
    tmp_path, settings, cases, monkeypatch, capsys, caplog, name
):
    lines = ["case,us", *(f"{case.name},{case.inputs['us']}" for case in cases)]
    (tmp_path / "cases.csv").write_text("\n".join(lines), encoding="utf-8")
    out = tmp_path / "out"
    words = ["batch", "--manifest", str(tmp_path / "cases.csv"), "--output-dir", str(out)]
    words += ["--model", settings.model, "--targets", "t2", "--device", "cpu"]
    assert main(words) == 9
    former, move = (out / name).read_bytes(), report.move

    def refuse(source, target):
        if target.name == name:
            raise PermissionError(errno.EACCES, "The process cannot access the file")
        move(source, target)

    monkeypatch.setattr(report, "move", refuse)
    capsys.readouterr()
    assert main([*words, "--json"]) == 9
    result = json.loads(capsys.readouterr().out)["result"]
    assert result["kept"] == ["a", "b"] and list(result["failed"]) == ["c"] and result["exit_code"] == 9
    written = {"report.html": result["report"], "report.csv": result["table"]}
    assert written.pop(name) is None and all(written.values())
    (said,) = (text for text in caplog.messages if "Cannot write" in text)
    assert f"Cannot write {out / name}: The process cannot access the file." in said and "are done" not in said
    assert (out / name).read_bytes() == former
    assert sorted(path.name for path in out.iterdir()) == ["a", "b", "report.csv", "report.html"]
    assert main(words) == 9
    said = capsys.readouterr().out
    assert "0 done, 2 finished before, 1 failed." in said
    assert ("The report could not be written" in said) is (name == "report.html")


def test_a_batch_that_is_cancelled_is_cancelled_though_its_report_cannot_be_written(tmp_path, settings, cases, caplog):
    out = tmp_path / "out"

    class AtTheSecondCase:
        def is_set(self):
            return (out / "report.csv").exists()

    def hold(step):
        if (step.stage, step.done) == ("cases", 1):
            (out / "report.csv").mkdir()

    with pytest.raises(Cancelled, match="1 of 3 cases are finished"):
        run_batch(cases, settings, out, hold, AtTheSecondCase())
    assert f"Cannot write {out / 'report.csv'}" in caplog.text and (out / "report.html").is_file()
