"""What the registration benchmark says: its tables in Markdown, and its pictures."""

import numpy as np
from scipy.stats import pearsonr, spearmanr

RANGES = ((0, 4), (4, 8), (8, 12), (12, 16))
SUCCESS = 2.0
"""mm of mean error up to which a registration counts as a success."""


def _names(rows, key):
    """Return the values of a column in the order in which they come."""
    return list(dict.fromkeys(row[key] for row in rows))


def _chosen(rows, **values):
    return [row for row in rows if all(row[key] == value for key, value in values.items())]


def _markdown(titles, lines):
    parts = [titles, ["---"] * len(titles), *lines]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in parts)


def errors(rows):
    """Return the table of the protocol: the errors by fixed volume, engine and range."""
    lines = []
    for track in _names(rows, "track"):
        for engine in _names(rows, "engine"):
            for low, high in RANGES:
                some = _chosen(rows, track=track, engine=engine, low=low)
                if some:
                    tre = np.array([row["tre"] for row in some])
                    cpu, wall = (f"{np.mean([row[key] for row in some]):.1f}" for key in ("cpu", "wall"))
                    numbers = [f"{np.median(tre):.2f}", f"{tre.mean():.2f}", f"{tre.max():.2f}"]
                    share = f"{100 * (tre < SUCCESS).mean():.0f}"
                    lines.append([track, engine, f"{low}-{high}", len(tre), *numbers, share, cpu, wall])
    return _markdown(
        "fixed, engine, start mm, n, median TRE, mean TRE, largest, % < 2 mm, CPU s, wall s".split(", "), lines
    )


def agreement(rows):
    """Return how confidence and true error go together: Pearson's r of their logarithms, Spearman's, median ratio."""
    tre, confidence = (np.array([row[key] for row in rows]) for key in ("tre", "confidence"))
    ratio = float(np.median(tre / confidence))
    if len(rows) < 3:
        return float("nan"), float("nan"), ratio
    return float(pearsonr(np.log(tre), np.log(confidence))[0]), float(spearmanr(tre, confidence)[0]), ratio


def trust(rows):
    """Return the table of what confidence and warnings are worth, by engine and fixed volume, and for all of them."""
    lines = []
    for engine in _names(rows, "engine"):
        mine = _chosen(rows, engine=engine)
        for track in [*_names(mine, "track"), "all"]:
            some = mine if track == "all" else _chosen(mine, track=track)
            failed = [row for row in some if row["tre"] >= SUCCESS]
            warned = [row for row in failed if row["warnings"]]
            alarms = [row for row in some if row["warnings"] and row["tre"] < SUCCESS]
            pearson, spearman, ratio = agreement(some)
            found = [f"{len(warned)} of {len(failed)}", f"{len(alarms)} of {len(some) - len(failed)}"]
            lines.append([engine, track, f"{pearson:.2f}", f"{spearman:.2f}", f"{ratio:.2f}", *found])
    titles = ["engine", "fixed", "r of log confidence and log error", "Spearman", "median error / confidence"]
    return _markdown([*titles, "failures warned of", "successes warned of"], lines)


def pairs(rows):
    """Return the table of real pairs, whose truth is unknown: how far each engine leaves the given start.

    It says whether the model behind a fixed volume was trained on a case of that name, as a rule on this very iUS.
    """
    lines = []
    for row in rows:
        numbers = [f"{row[key]:.2f}" for key in ("moved", "confidence")]
        likeness = [f"{row[key]:.3f}" for key in ("before", "after")]
        again = f"{row['again']:.2f}"
        lines.append(
            [
                row["case"],
                row["track"],
                row["seen"],
                row["engine"],
                *numbers,
                *likeness,
                again,
                row["warnings"].strip() or "-",
            ]
        )
    titles = ["case", "fixed", "trained on the case", "engine", "moved mm", "confidence mm", "LNCC before", "after"]
    return _markdown([*titles, "other starts end apart, mm", "warnings"], lines)


def plot_confidence(rows, path):
    """Draw confidence against true error."""
    from matplotlib import pyplot, ticker

    engines = _names(rows, "engine")
    figure, axes = pyplot.subplots(1, len(engines), figsize=(4.5 * len(engines), 4.2), squeeze=False)
    for axis, engine in zip(axes[0], engines):
        mine = _chosen(rows, engine=engine)
        for track in _names(mine, "track"):
            some = _chosen(mine, track=track)
            axis.loglog([r["confidence"] for r in some], [r["tre"] for r in some], "o", ms=4, alpha=0.7, label=track)
        pearson, _, ratio = agreement(mine)
        span = [min(r["confidence"] for r in mine), max(r["confidence"] for r in mine)]
        axis.loglog(span, span, color="grey", lw=0.8)
        axis.set(
            title=f"{engine}: r = {pearson:.2f} (log), error / confidence {ratio:.2f}",
            xlabel="confidence, mm",
            ylabel="true error, mm",
        )
        axis.title.set_fontsize(9)
        for scale in (axis.xaxis, axis.yaxis):
            scale.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            scale.set_major_formatter(ticker.FormatStrFormatter("%g"))
            scale.set_minor_formatter(ticker.NullFormatter())
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def plot_capture(rows, path):
    """Draw which starts end within 2 mm: their share by displacement, and each start by displacement and rotation."""
    from matplotlib import pyplot

    tracks, engines = _names(rows, "track"), _names(rows, "engine")
    figure, axes = pyplot.subplots(
        2, len(tracks), figsize=(4.5 * len(tracks), 6.4), sharex=True, sharey="row", squeeze=False
    )
    for (above, below), track in zip(axes.T, tracks):
        for engine in engines:
            some = _chosen(rows, track=track, engine=engine)
            lows = sorted({row["low"] for row in some})
            success = [100 * np.mean([r["tre"] < SUCCESS for r in _chosen(some, low=low)]) for low in lows]
            above.plot(lows, success, "o-", ms=4, label=engine)
        first = _chosen(rows, track=track, engine=engines[0])
        for ended, style in ((True, "o"), (False, "x")):
            some = [row for row in first if (row["tre"] < SUCCESS) == ended]
            label = f"{'within' if ended else 'not within'} {SUCCESS:g} mm"
            below.plot([r["displacement"] for r in some], [r["degrees"] for r in some], style, ms=5, label=label)
        above.set(title=track, ylim=(-5, 105))
        below.set(xlabel="median displacement at the start, mm")
    axes[0, 0].set_ylabel(f"% within {SUCCESS:g} mm")
    axes[1, 0].set_ylabel(f"rotation at the start, degrees ({engines[0]})")
    for row in axes:
        row[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
