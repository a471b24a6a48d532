"""The page of a quantization: what stands where, and what it says of its figures."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from edgeconv.report.quantization import QuantizationReport, render_quantization_page

HOSTILE = "<script>alert(1)</script>"


class Texts(HTMLParser):
    """The text of a page, and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.tags = "", list[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"


def make_candidate(number: int, *, is_chosen: bool = False) -> dict[str, object]:
    figures = {"snr_db": 30.0, "score": 0.98, "drop": 0.01, "latency_seconds": 0.001}
    flags = {"is_within": True, "is_pareto": is_chosen, "is_chosen": is_chosen}
    return {"name": f"candidate {number}", "size_bytes": 1000 + number, **figures, **flags}


def make_report(candidates: int = 3, **more: object) -> QuantizationReport:
    output = {"name": HOSTILE, "snr_db": 30.0, "cosine": 0.999, "max_abs_error": 0.1}
    layer = {"name": "relu/relu", "code": "CONV_2D", "precision": "int8", "snr_db": 30.0}
    data: dict[str, object] = {
        "edgeconv": "0",
        "created": "2026-01-01",
        "command": ["edgeconv", "quantize", "net.tflite"],
        "name": "net",
        "source": "net.tflite",
        "source_sha256": "0" * 64,
        "artifact": "net.int8.tflite",
        "sha256": "1" * 64,
        "quantizer": "some-quantizer",
        "recipe": "int8",
        "io": "float32",
        "observer": "mse",
        "preparation": {"equalize": 2},
        "calibration": None,
        "evaluation": {
            "metric": "top1",
            "unit": "%",
            "is_higher_better": True,
            "samples": 397,
            "before": 0.99,
            "after": 0.98,
            "drop": 0.01,
            "max_drop": None,
        },
        "is_met": True,
        "error": None,
        "float": {"size_bytes": 4000, "latency_seconds": 0.001},
        "size_bytes": 1000,
        "latency_seconds": 0.001,
        "snr_db": 30.0,
        "integer_share": 1.0,
        "precisions": {"int8": 1},
        "operators_kept": [],
        "outputs": [{**output, "top1_agreement": 1.0, "is_finite": True}],
        "compared_samples": 64,
        "layers": [{**layer, "source": "conv2d, stem, net.py:4 in forward", "reason": ""}],
        "ranking": [],
        "candidates": [make_candidate(n, is_chosen=n == 1) for n in range(candidates)],
        "chosen": "candidate 1",
        "reproduce": {},
        "versions": {"some-quantizer": "1.0"},
        "warnings": [],
        "seconds": 1.0,
        "peak_memory_bytes": 1,
    }
    return QuantizationReport.model_validate({**data, **more})


def _headings(page: str) -> list[str]:
    return re.findall(r"<h2>([^<]*)</h2>", page)


def test_the_long_table_comes_last() -> None:
    page = render_quantization_page(make_report())
    assert _headings(page)[-3:] == ["Outputs", "How it was made", "Layers"]
    assert page.index("edgeconv quantize net.tflite") < page.index("<h2>Layers")


def test_figures_say_what_they_were_taken_on() -> None:
    text = Texts(render_quantization_page(make_report())).text
    assert "Compared with the float model's on 64 samples; top1 above is of all 397" in text
    alone = Texts(
        render_quantization_page(make_report(0, evaluation=None, compared_samples=1))
    ).text
    assert "Compared with the float model's on 1 sample." in alone
    unknown = make_report(compared_samples=0)  # of a report from before it was counted
    assert "Compared with" not in Texts(render_quantization_page(unknown)).text


def test_many_candidates_are_folded_and_the_best_stay() -> None:
    few = Texts(render_quantization_page(make_report(12)))
    assert "details" not in few.tags
    many = Texts(render_quantization_page(make_report(13)))
    assert many.tags.count("details") == 1
    shown, _, folded = many.text.partition("All 13 candidates")
    table = shown[shown.index("Everything that was tried") :]
    assert re.findall(r"candidate \d+", table) == ["candidate 1"]
    assert len(re.findall(r"candidate \d+", folded)) == 13


def test_phones_are_told_that_tables_scroll() -> None:
    page = render_quantization_page(make_report())
    assert "Wide tables scroll sideways." in page
    narrow = page[page.index("@media (max-width: 720px) {\n  .hint") :]
    assert narrow.startswith("@media (max-width: 720px) {\n  .hint { display: block; }")


def test_strings_of_strangers_stay_text() -> None:
    page = Texts(render_quantization_page(make_report()))
    assert "script" not in page.tags
    assert HOSTILE in page.text
