"""Names of earlier configurations are still understood."""

import pytest

from genjax import config, core, renamed


@pytest.mark.parametrize(
  ("file", "old", "new"),
  [
    ("ddpm_moons", ["model.network.conditional=true"], ["model.network.conditions=label"]),
    ("ddpm_mnist:smoke", ["model.network.conditional=false", "model.label_dropout=0",
                          "model.guidance.name=none"],
     ["model.network.conditions=", "model.hide=0", "model.guidance.name=none"]),
    ("ddpm_mnist:smoke", ["model.label_dropout=0.3"], ["model.hide=0.3"]),
    ("vae_mnist:completion+smoke", ["model.decoder.conditional=T"],
     ["model.decoder.conditions=('label','known:values')"]),
    ("vae_mnist:completion+smoke", ["model.known="],
     ["task.name=none", "model.decoder.conditions="]),
    ("vae_mnist:conditional+completion+smoke", ["model.decoder.conditional=false"],
     ["model.decoder.conditions=known:values"]),
    ("vae_mnist:smoke", ["model.known=left"],
     ["task.name=half", "task.side=left", "model.decoder.conditions=known:values"]),
    ("vae_mnist:conditional+smoke", ["model.known=top"],
     ["task.name=half", "task.side=top", "model.decoder.conditions=('label','known:values')"]),
  ],
)  # fmt: skip
def test_an_old_command_is_a_new_one(file, old, new):
  name, _, variant = file.partition(":")
  path = f"configs/{name}.py{variant and ':'}{variant}"
  assert config.from_file(path, old)[0] == config.from_file(path, new)[0]


def test_what_an_old_command_changes_is_told():
  _, values = config.from_file("configs/vae_mnist.py:smoke", ["model.known=left", "steps=3"])
  told = {"task.name": "half", "task.side": "left", "model.decoder.conditions": ("known:values",)}
  assert values == {**told, "steps": 3}
  with pytest.raises(core.UserError, match="expected true or false"):
    config.from_file("configs/ddpm_moons.py", ["model.network.conditional=maybe"])


def test_an_old_configuration_is_a_new_one():
  old = {
    "model": {
      "name": "latent",
      "stage": {"name": "vae", "known": "left", "encoder": {"name": "mlp", "conditional": True},
                "decoder": {"name": "mlp", "conditional": False}},
      "prior": {"name": "diffusion", "label_dropout": 0.1,
                "network": {"name": "unet", "conditional": True}},
    },
    "steps": 3,
  }  # fmt: skip
  new = renamed.whole(old)
  assert new["task"] == {"name": "half", "side": "left"} and new["steps"] == 3
  stage, prior = new["model"]["stage"], new["model"]["prior"]
  assert stage == {
    "name": "vae",
    "encoder": {"name": "mlp", "conditions": ("label",)},
    "decoder": {"name": "mlp", "conditions": ("known:values",)},
  }
  assert prior["hide"] == 0.1 and prior["network"]["conditions"] == ("label",)
  assert old["model"]["stage"]["known"] == "left"  # what is given stays as it is
  assert renamed.whole(new) == new
