"""The U-Nets of JAX peers as workers of run.py, in Python environments of their own.

usage: jax_peers.py NAME BATCH

    flaxdiff      its Unet, whose default block attends to a text, here one token of zeros
    hackable      hackable_diffusion's Unet; a clone of its repository is on PYTHONPATH

Both have the widths, blocks, levels of attention, heads and groups of unet.py; README.md says what
still differs. The training step is that of unet.py: linear noise, mean square error of eps, Adam.
The work is that of ours.py without sampling. The first line of output is the number of parameters.
"""

import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
import worker

# Time steps of the diffusion process.
STEPS = 1000
# Channels of the levels of the U-Net.
WIDTHS = (32, 64, 128)


def flaxdiff(batch: int) -> tuple[Callable, Callable]:
  """Returns (init, apply) of flaxdiff's U-Net: (key, x) -> params, (params, x, t) -> eps."""
  from flaxdiff.models.simple_unet import Unet

  net = Unet(
    output_channels=1,
    emb_features=4 * WIDTHS[0],
    feature_depths=WIDTHS,
    attention_configs=[None, *({"heads": h, "only_pure_attention": True} for h in (8, 16))],
    num_res_blocks=2,
    num_middle_res_blocks=1,
    activation=jax.nn.silu,
    norm_groups=8,
    dtype=jnp.float32,
  )

  # [batch, tokens, width]
  text = jnp.zeros((batch, 1, 1))
  init = lambda key, x: net.init(key, x, jnp.zeros(batch), text)["params"]
  return init, lambda params, x, t: net.apply({"params": params}, x, t / STEPS, text)


def hackable(batch: int) -> tuple[Callable, Callable]:
  """Returns (init, apply) of hackable_diffusion's U-Net, with arguments as those of `flaxdiff`."""
  from hackable_diffusion.lib import architecture as arch
  from hackable_diffusion.lib.diffusion_network import DiffusionNetwork

  unet = arch.Unet(
    base_channels=WIDTHS[0],
    channels_multiplier=(1, 2, 4),
    num_residual_blocks=(2, 2, 2),
    downsample_method=arch.DownsampleType.AVG_POOL,
    upsample_method=arch.UpsampleType.NEAREST,
    dropout_rate=(0.0, 0.0, 0.0),
    bottleneck_dropout_rate=0.0,
    self_attention_bool=(False, True, True),
    cross_attention_bool=(False, False, False),
    attention_num_heads=-1,
    attention_head_dim=8,
    attention_normalize_qk=False,
    attention_use_rope=False,
    attention_rope_position_type=arch.RoPEPositionType.SQUARE,
    normalization_type=arch.NormalizationType.GROUP_NORM,
    normalization_num_groups=8,
    activation="silu",
    skip_connection_method=arch.SkipConnectionMethod.UNNORMALIZED_ADD,
  )
  encoder = arch.ConditioningEncoder(
    time_embedder=arch.SinusoidalTimeEmbedder(
      activation="silu", embedding_dim=WIDTHS[0], num_features=4 * WIDTHS[0]
    ),
    conditioning_embedders={},
    embedding_merging_method=arch.EmbeddingMergeMethod.SUM,
    conditioning_rules={"time": arch.ConditioningMechanism.ADAPTIVE_NORM},
  )
  net = DiffusionNetwork(
    backbone_network=unet, conditioning_encoder=encoder, prediction_type="epsilon"
  )

  def call(method, first, x, t):
    return method(first, time=t / STEPS, xt=x, conditioning=None, is_training=True)

  init = lambda key, x: call(net.init, key, x, jnp.zeros(batch))["params"]
  return init, lambda params, x, t: call(net.apply, {"params": params}, x, t)["epsilon"]


class Work:
  """The methods that a line of input can name; each is compiled at its first call.

  network: `flaxdiff` or `hackable`.
  """

  def __init__(self, network: Callable, batch: int):
    keys = jax.random.split(jax.random.key(0), 3)
    self.x = jax.random.normal(keys[0], (batch, 32, 32, 1))
    self.t = jnp.zeros(batch, jnp.int32)
    init, apply = network(batch)
    params = init(keys[1], self.x)
    optimizer = optax.adam(1e-4)

    # alpha^2 at each time step.
    alphas = jnp.cumprod(1 - jnp.linspace(1e-4, 0.02, STEPS))

    def step(state, x):
      params, moments, key = state
      key, key_t, key_eps = jax.random.split(key, 3)

      t = jax.random.randint(key_t, (batch,), 0, STEPS)
      eps = jax.random.normal(key_eps, x.shape)
      alpha = alphas[t][:, None, None, None]  # [B, 1, 1, 1]
      xt = jnp.sqrt(alpha) * x + jnp.sqrt(1 - alpha) * eps

      loss = lambda params: jnp.mean((apply(params, xt, t) - eps) ** 2)
      value, grads = jax.value_and_grad(loss)(params)
      updates, moments = optimizer.update(grads, moments, params)
      return (optax.apply_updates(params, updates), moments, key), value

    # A copy, because a training step donates the arrays of the state.
    self.params = jax.tree.map(jnp.copy, params)
    self.state = params, optimizer.init(params), keys[2]
    self.step_fn = jax.jit(step, donate_argnums=0)
    self.net = jax.jit(apply)

  def step(self) -> jax.Array:
    """Makes one training step and returns the loss."""
    self.state, value = self.step_fn(self.state, self.x)
    return value

  def forward(self) -> jax.Array:
    """Applies the network to one batch."""
    return self.net(self.params, self.x, self.t)

  def parameters(self) -> int:
    """Returns the number of parameters."""
    return sum(a.size for a in jax.tree.leaves(self.params))


def main() -> None:
  """Prints the number of parameters, then serves run.py until its input ends."""
  work = Work({"flaxdiff": flaxdiff, "hackable": hackable}[sys.argv[1]], int(sys.argv[2]))
  print(work.parameters(), flush=True)
  worker.serve(work, jax.block_until_ready)


if __name__ == "__main__":
  main()
