"""Counts what passed."""

from __future__ import annotations


def describe(result):
    rows = [r for r in result["rows"] if not r["uncaptured"]]
    return (
        f"{len(rows)} captured, "
        + ", ".join(
            f"{f} {sum(not r['failures'][f] for r in rows)}" for f in ("savedmodel", "tflite")
        )
        + str(result.get("error", ""))
    )


def write_results(done, folder, samples):
    out = []
    for name, cond in (
        ("all", lambda r: True),
        ("core exported", lambda r: r["core"] == "exported"),
        ("core decomposed", lambda r: r["core"] in ("exported", "decomposed")),
    ):
        for det in (False, True):
            rows = [
                (u, r)
                for u, d in done.items()
                for r in d["rows"]
                if not r["uncaptured"] and cond(r) and not (det and r["is_random"])
            ]
            for f in ("savedmodel", "tflite"):
                ok = sum(not r["failures"][f] for u, r in rows)
                out.append(
                    f"{name} det={det} {f}: {ok}/{len(rows)} {100 * ok / max(1, len(rows)):.2f}%"
                )
    return "\n".join(out)
