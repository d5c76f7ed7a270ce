"""The benchmarks run and write what they print."""

import json
import sys

import pytest

from benchmarks import quality


def test_the_quality_benchmark_writes_table_numbers_and_sheets(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(quality, "RESULTS", tmp_path)
    monkeypatch.setenv("SINGAN_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(sys, "argv", ["quality", "--profile", "smoke", "--images", "mountains"])
    quality.main()

    document = json.loads((tmp_path / "quality-smoke.json").read_text())
    result = document["results"]["mountains"]
    assert result["levels"] > 1 and result["seconds"] > 0
    assert result["frechet_features"].startswith("random-filters")
    assert document["machine"]["torch"]
    assert (tmp_path / "quality-smoke-mountains.png").exists()
    printed = capsys.readouterr().out
    assert f"{result['sliced_wasserstein']:.3f}" in printed
    assert printed.strip() == (tmp_path / "quality-smoke.md").read_text().strip()


def test_the_table_is_headed_by_the_features_it_was_measured_with():
    result = {
        "size": [80, 128], "levels": 6, "seconds": 190.0, "sliced_wasserstein": 0.01, "frechet": 0.1,
        "frechet_features": "inception-192-0cc3c7bd", "diversity": 0.2, "reconstruction_psnr": 31.0,
    }  # fmt: skip
    assert "inception-192-0cc3c7bd" in quality.table({"mountains": result})
    with pytest.raises(ValueError, match="different features"):
        quality.table({"a": result, "b": result | {"frechet_features": "random-filters-0"}})
