"""Configurations: which values are filled in, which are refused, and with which messages."""

import dataclasses
import json
import pathlib
import runpy
import textwrap

import jax
import pytest

from genjax import config, core, registry
from genjax.runs import build
from genjax.training import sharding

ROOT = pathlib.Path(__file__).parents[1]
MOONS = f"{ROOT}/configs/ddpm_moons.py"
CONFIGS = sorted(p for p in (ROOT / "configs").glob("*.py") if p.stem != "base")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_configuration_is_complete_and_has_a_smoke_variant(path):
  whole, values = config.from_file(f"{path}:smoke")
  assert values == {} and whole["steps"] == 20 and whole["save_every"] == 5
  assert config.complete(whole) == whole
  assert config.complete(json.loads(json.dumps(whole))) == whole  # as a run directory keeps it


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_docstring_opens_with_title_and_command(path):
  doc = path.read_text().split('"""')[1].splitlines()
  assert doc[0].endswith(".") and len(doc[0]) < 80
  assert f"--config=configs/{path.name}" in "\n".join(doc)


@pytest.mark.slow
@pytest.mark.parametrize(
  "name, published",
  [("ddpm_mnist", 35.7e6), ("edm_fashion_mnist", 55.7e6), ("flow_matching_mnist", 0)],
)
def test_full_variants_can_be_trained_and_have_the_papers_size(name, published):
  """Traced, not run; the papers' networks have three channels and no labels."""
  overrides = ["data.name=fake", "data.shape=28,28,1"]
  whole, _ = config.from_file(f"{ROOT}/configs/{name}.py:full", overrides)
  model, key = build.assemble(whole).model, jax.random.key(0)
  batch = {
    "x": jax.ShapeDtypeStruct((8, 28, 28, 1), "float32"),
    "label": jax.ShapeDtypeStruct((8,), "int32"),
  }
  params, buffers = jax.eval_shape(lambda batch: model.init(key, batch, {}), batch)
  for objective in model.objectives:
    loss = lambda *args, f=objective.loss: f(*args, key, 0)[0]
    assert jax.eval_shape(loss, params, buffers, batch).shape == ()
  if published:
    assert sum(p.size for p in jax.tree.leaves(params)) == pytest.approx(published, rel=0.1)


VARIANTS = [
  (file, variant, data)
  for file, data in [
    ("autoencoder_fashion_mnist", "data.range=0,1"),
    ("vae_mnist", "data.binarize=threshold"),
  ]
  for variant in runpy.run_path(f"{ROOT}/configs/{file}.py")["VARIANTS"]
  if variant != "smoke"
]


@pytest.mark.parametrize("file, variant, data", VARIANTS)
def test_every_variant_fits_together(file, variant, data):
  """Traced, not run."""
  overrides = ["data.name=fake", "data.shape=28,28,1", "data.n=100", data]
  whole, _ = config.from_file(f"{ROOT}/configs/{file}.py:{variant}", overrides)
  setup, key = build.assemble(whole), jax.random.key(0)
  batch = setup.pipeline.at(0)
  state = setup.abstract(sharding.mesh())
  for objective in setup.model.objectives:
    loss = lambda *args, f=objective.loss: f(*args, key, 0)[0]
    assert jax.eval_shape(loss, state.params, state.buffers, batch).shape == ()


def test_a_nested_model_may_be_that_of_a_run(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  first, _ = config.from_file(f"{ROOT}/configs/autoencoder_fashion_mnist.py:smoke")
  whole, _ = config.from_file(f"{ROOT}/configs/latent_fashion_mnist.py:smoke")
  whole["model"]["stage"] = "runs/first-tied"
  with pytest.raises(core.UserError, match=r"--config=configs/first\.py:tied$"):
    config.complete(whole)
  run = tmp_path / "runs" / "first-tied"
  run.mkdir(parents=True)
  (run / "config.json").write_text(json.dumps(first))
  assert config.complete(whole)["model"]["stage"] == first["model"]
  whole["model"]["stage"] = first["model"]
  whole["model"]["stage"]["codec"] = "runs/first-tied"
  with pytest.raises(core.UserError, match=r"model\.stage\.codec=.*, expected a dict"):
    config.complete(whole)


def test_defaults_are_written_in():
  whole, _ = config.from_file(MOONS)
  assert whole["model"]["clip"] is True
  assert whole["model"]["process"]["noise"] == dict(name="cosine", s=0.008, max_beta=0.999)
  assert whole["optim"]["denoiser"]["b1"] == 0.9


def test_overrides_have_the_type_of_what_they_replace():
  whole, values = config.from_file(
    MOONS, ["steps=7", "model.network.widths=8,9", "optim.denoiser.lr=1", "model.clip=false",
            "eval_ema=", "metrics=w2,modes"],
  )  # fmt: skip
  assert whole["steps"] == 7 and whole["model"]["network"]["widths"] == (8, 9)
  assert whole["optim"]["denoiser"]["lr"] == 1.0 and whole["model"]["clip"] is False
  assert whole["eval_ema"] == "" and whole["metrics"] == ("w2", "modes")
  assert values["steps"] == 7


def test_a_required_field_may_come_from_the_command_line():
  """Of the outermost class and of nested ones, in any order."""
  folder = ["data.name=image_folder", "data.dir=~/a b", "data.size=8"]
  whole, values = config.from_file(f"{ROOT}/configs/vp_sde_digits.py:smoke", folder)
  assert whole["data"]["dir"] == "~/a b" and values["data.dir"] == "~/a b"

  pair = ["data.first.dir=x", "data.second.dir=y", "data.second.name=image_folder"]
  pair += ["data.first.name=image_folder", "data.name=domains"]
  whole, _ = config.from_file(MOONS, pair)
  assert [whole["data"][part]["dir"] for part in ("first", "second")] == ["x", "y"]

  with pytest.raises(core.UserError, match=r"data\.dir is missing.*--config\.data\.dir="):
    config.from_file(MOONS, ["data.name=image_folder"])


def test_values_are_written_in_any_usual_way():
  whole, _ = config.from_file(
    f"{ROOT}/configs/ddpm_mnist.py",
    ["steps=1e4", "model.network.attention=true,False", "metrics=fd, nearest"],
  )
  assert whole["steps"] == 10_000 and whole["model"]["network"]["attention"] == (True, False)
  assert whole["metrics"] == ("fd", "nearest")


def test_another_name_drops_the_old_classs_keys():
  whole, _ = config.from_file(MOONS, ["model.sampler.name=ancestral", "model.sampler.steps=9"])
  assert whole["model"]["sampler"] == dict(
    name="ancestral", steps=9, variance="posterior", grid=dict(name="uniform")
  )
  same, _ = config.from_file(MOONS, ["model.sampler.name=ddim"])
  assert same["model"]["sampler"]["steps"] == 50  # the same class keeps its values
  nested, _ = config.from_file(MOONS, ["model.process.noise.name=linear"])
  assert nested["model"]["process"] == dict(
    name="ddpm", noise=dict(name="linear", first=1e-4, last=0.02), steps=100, zero_snr=False,
    shift=1.0, sigma_data=1.0,
  )  # fmt: skip


def test_free_keys():
  whole, _ = config.from_file(MOONS, ["load.teacher=runs/x:denoiser", "ema.fast.decay=0.9"])
  assert whole["load"] == {"teacher": "runs/x:denoiser"}
  assert whole["ema"]["fast"] == dict(groups=(), decay=0.9, profile="warmup", width=0.1)


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    (["stepps=3"], "unknown key 'stepps'; did you mean 'steps'"),
    (["model.network.width=3"], "did you mean 'model.network.widths'"),
    (["optim.denoiser.lrr=3"], "did you mean 'optim.denoiser.lr'"),
    (["model.sampler.name=dddim"], r"model\.sampler\.name: unknown sampler 'dddim'; did you mean"),
    (["optim.denoiser.name=adan_"], "unknown optim 'adan_'; did you mean 'adan'"),
    (["model.smapler.name=ddim"], "did you mean 'model.sampler'"),
    (["steps=1.5"], "steps='1.5', expected a whole number"),
    (["steps=many"], "steps='many', expected a whole number"),
    (["steps=0"], "steps=0, expected a number >= 1"),
    (["steps=-3"], "steps=-3, expected a number >= 1"),
    (["model.network.widths=8,0"], "widths=0, expected a number >= 1"),
    (["model.network.widths=8,x"], "widths"),
    (["optim.denoiser.lr=0"], "lr=0.0, expected a number > 0"),
    (["optim.denoiser.lr=nan"], "lr=nan"),
    (["optim.denoiser.lr=inf"], "lr=inf"),
    (["model.sampler.eta=1.5"], "eta=1.5, expected a number >= 0 and <= 1"),
    (["dtype=float16"], "unknown dtype 'float16'; did you mean 'bfloat16'"),
    (["eval_ema=emma"], "unknown eval_ema 'emma'; did you mean 'ema'"),
    (["seed=4294967296"], "seed=4294967296, expected a number >= 0 and <= 4294967295"),
    (["model.sampler.eta=nan"], "eta=nan"),
    (["optim.denoiser.b1=inf"], "b1=inf"),
    (["batch=9", "accumulate=2"], "batch=9 is not a multiple of accumulate=2"),
    (["model=3"], "model"),
    (["model.sampler.steps.x=3"], "unknown key 'model.sampler.steps.x'"),
  ],
)  # fmt: skip
def test_mistakes_on_the_command_line(overrides, message):
  with pytest.raises(core.UserError, match=message) as error:
    config.from_file(MOONS, overrides)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("line", "message"),
  [
    ("config.modle = 3", "unknown key 'modle'; did you mean 'model'"),
    ("config.model.predction = 'v'", "did you mean 'model.prediction'"),
    ("config.model.process.steps = '10'", r"line \d+: .*cannot be casted"),
    ("config.steps = True", "steps=True, expected int"),
    ("config.batch = -1", "batch=-1, expected a number >= 1"),
    ("del config['seed']", "seed is missing"),
    ("config.optim = dict(denoiser=dict(lr=1.))", "optim.denoiser has no 'name'"),
    ("config.optim = 3", r"line \d+: .*cannot be casted"),
    ("config.steps = stepps", r"line \d+: NameError"),
    ("return 3", "mine.py"),
    ("config.model = 'diffusion'", r"line \d+: .*cannot be casted"),
  ],
)
def test_mistakes_in_the_file(tmp_path, line, message):
  source = (
    pathlib.Path(MOONS)
    .read_text()
    .replace("  return base.variant", f"  {line}\n  return base.variant")
  )
  file = tmp_path / "mine.py"
  file.write_text(source)
  with pytest.raises(core.UserError, match=message):
    config.from_file(str(file))


def test_missing_files_and_variants(tmp_path, monkeypatch):
  monkeypatch.chdir(ROOT)
  with pytest.raises(core.UserError, match=r"did you mean 'configs/ddpm_moons\.py'"):
    config.from_file("configs/ddpm_moon.py")
  with pytest.raises(core.UserError, match="unknown variant 'smok'; did you mean 'smoke'"):
    config.from_file(f"{MOONS}:smok")
  (tmp_path / "empty.py").write_text(textwrap.dedent("x = 1"))
  with pytest.raises(core.UserError, match="no function get_config"):
    config.from_file(str(tmp_path / "empty.py"))
  with pytest.raises(core.UserError, match="no run directory"):
    config.from_run(tmp_path)


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    (["model.prediction=eps", "model.process.zero_snr=true"], "model: prediction='eps' with"),
    (["model.sampler.steps=101"], "model: sampler.steps=101 is more than process.steps=100"),
    (["model.network.activation=reluu"], "model.network: unknown activation 'reluu'"),
    (["data.kind=moon"], "did you mean 'moons'"),
    (["model.network.name=unet"], "needs images"),
    (["data.one_hot=true", "model.network.conditional=true"], "embeds labels by number"),
    (["optim.critic.name=adam"], "unknown group in optim 'critic'"),
    (["model.network.conditional=true", "data.name=bars"], "needs data with labels"),
  ],
)
def test_illegal_pairs_are_refused_when_built(overrides, message):
  whole, _ = config.from_file(MOONS, overrides)
  with pytest.raises(core.UserError, match=message):
    build.assemble(whole)


def test_missing_optimizer_is_named():
  whole, _ = config.from_file(MOONS)
  with pytest.raises(core.UserError, match=r"optim\.denoiser is missing"):
    build.assemble({**whole, "optim": {}})


def test_difference_is_by_leaves():
  whole, _ = config.from_file(MOONS)
  other, _ = config.from_file(MOONS, ["batch=8", "model.sampler.name=ancestral"])
  changes = config.difference(whole, other)
  assert changes["batch"] == (256, 8) and changes["model.sampler.eta"] == (0.0, None)


def test_workdir_is_named_after_configuration_and_overrides():
  assert str(config.workdir("configs/a.py", [])) == "runs/a"
  assert str(config.workdir("configs/a.py:smoke", [])) == "runs/a-smoke"
  one, two = (config.workdir("configs/a.py", o) for o in (["x=1", "y=2"], ["y=2", "x=1"]))
  assert one == two and len(one.name) == len("a-123456")


@pytest.mark.parametrize("field", registry.TABLES)
def test_every_default_is_of_its_declared_type(field):
  for name, cls in registry.TABLES[field].items():
    hints, fields = registry.hints(cls), registry.fields(cls)
    for key, value in ((k, f.default) for k, f in fields.items()):
      if value is not dataclasses.MISSING:
        plain = registry.plain(hints[key], value)
        assert config._complete_value(hints[key], plain, f"{name}.{key}") == plain
