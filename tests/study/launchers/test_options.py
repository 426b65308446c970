"""The settings of launchers: mistakes end in one line before anything is started."""

import importlib.util

import pytest

from vitlab.cli import main
from vitlab.study.launchers import options, slurm


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--slurm_partition", "gpu"], "--slurm_partition is for --launcher slurm, and this is local"),
        (["--gpus_per_run", "1"], "--gpus_per_run is for --launcher slurm or ray, and this is local"),
        (["--launcher", "ray", "--slurm_time", "2h"], "--slurm_time is for --launcher slurm, and this is ray"),
        (["--launcher", "ray", "--workers_per_device", "2"], "with ray give --gpus_per_run"),
        (["--launcher", "slurm", "--gpus_per_run", "0.5"], "--gpus_per_run 0.5: SLURM gives whole GPUs only"),
        (["--launcher", "ray", "--gpus_per_run", "1.5"], "'1.5' is not 0, a part of a GPU"),
        (["--launcher", "slurm", "--slurm_options", "mem"], "'mem' is not KEY=VALUE"),
        (["--launcher", "slurm", "--slurm_time", "soon"], "'soon' is not a time such as 90m"),
        (["--launcher", "kubernetes"], "invalid choice: 'kubernetes'"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(study, capsys, monkeypatch, flags, said):
    monkeypatch.setattr(slurm, "available", lambda: True)
    assert study.run(*flags) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
    assert not study.root.exists()


@pytest.mark.parametrize("launcher", ["slurm", "ray"])
def test_a_launcher_that_is_not_installed_names_its_extra(study, capsys, monkeypatch, launcher):
    found = importlib.util.find_spec
    missing = ("submitit", "ray")
    monkeypatch.setattr(options.importlib.util, "find_spec", lambda name: None if name in missing else found(name))
    assert study.run("--launcher", launcher) == 2
    assert f"pip install 'vitlab[{launcher}]'" in capsys.readouterr().err


def test_slurm_is_used_where_its_commands_are(study, capsys, monkeypatch):
    monkeypatch.setattr(slurm, "available", lambda: False)
    assert study.run("--launcher", "slurm") == 2
    assert "sbatch is not on this machine" in capsys.readouterr().err


def test_help_names_the_settings(capsys):
    assert main(["study", "--help"]) == 0
    shown = capsys.readouterr().out
    for flag in ("--launcher", "--cpus_per_run", "--gpus_per_run", "--slurm_time", "--slurm_setup", "--ray_address"):
        assert flag in shown
