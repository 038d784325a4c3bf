"""How conditions enter networks: as vectors, channels and tokens, present and absent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax import core
from genjax.networks import cnn, mlp, transformer, unet
from genjax.networks.layers import attention, conditioning

KEY = jax.random.key(0)
SPEC = core.DataSpec(shape=(4, 4, 1), range=(-1.0, 1.0), classes=3).beside(
  image=core.Field(shape=(2, 2, 1), range=(-1.0, 1.0), kind="image"),
  text=core.Field(shape=(3,), dtype="int32", levels=5, kind="text"),
  vector=core.Field(shape=(6,)),
  hole=core.Field(shape=(4, 4, 1), range=(-1.0, 1.0), kind="image", fixed=False),
)
X = jax.random.normal(KEY, (2, 4, 4, 1))
COND = {
  "label": jnp.array([0, 2]),
  "image": jax.random.normal(KEY, (2, 2, 2, 1)),
  "text": jnp.array([[0, 1, 5], [4, 5, 5]]),
  "vector": jax.random.normal(KEY, (2, 6)),
}
TINY = dict(channels=(4,), layers=1, attention=(True,), groups=2, head_dim=4)
ALL = ("label", "image", "text", "vector")
NETS = {
  "unet": lambda conditions: unet.UNet(**TINY, conditions=conditions, spec=SPEC),
  "mlp": lambda conditions: mlp.MLP(widths=(8, 8), conditions=conditions, spec=SPEC),
}


def started(net, cond):
  """Returns parameters of the network without the zeros that some layers start with."""
  params = net.init(KEY, X, jnp.ones(2), cond)
  keys = iter(jax.random.split(jax.random.key(1), 1000))
  return jax.tree.map(lambda a: a + 0.3 * jax.random.normal(next(keys), a.shape), params)


EACH = [*NETS][1:] + [pytest.param("unet", marks=pytest.mark.slow)]


WAYS = [pytest.param(c, marks=pytest.mark.slow if c == "vector" else ()) for c in ALL]


@pytest.mark.parametrize("name", EACH)
@pytest.mark.parametrize("condition", WAYS)
def test_a_network_hears_each_of_its_conditions_and_no_other(name, condition):
  net = NETS[name]((condition,))
  params = started(net, COND)
  call = jax.jit(lambda cond: net.apply(params, X, jnp.ones(2), cond))
  heard = call(COND)
  other = {k: v if k == condition else jnp.zeros_like(v) for k, v in COND.items()}
  np.testing.assert_array_equal(heard, call(other))
  changed = {**COND, condition: jnp.zeros_like(COND[condition])}
  assert np.abs(heard - call(changed)).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH)
def test_absent_and_null_conditions_are_the_same_and_have_finite_gradients(name):
  net = NETS[name](ALL)
  params = started(net, COND)
  null = core.hidden(COND, SPEC, jnp.ones(2, bool))
  loss = lambda params, cond: jnp.sum(net.apply(params, X, jnp.ones(2), cond) ** 2)
  both = jax.jit(jax.value_and_grad(loss))
  (a, slope), (b, _) = both(params, null), both(params, {})
  np.testing.assert_allclose(a, b, rtol=1e-6)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


@pytest.mark.slow
def test_words_that_are_none_are_not_seen():
  """A short text says the same whatever stands at the places after it in the table of words."""
  net = NETS["mlp"](("text",))
  params = started(net, COND)
  table = params["params"]["text_tokens"]["Embed_0"]["embedding"]
  other = jax.tree.map(jnp.array, params)
  other["params"]["text_tokens"]["Embed_0"]["embedding"] = table.at[5].set(100.0)
  same = [net.apply(p, X, jnp.ones(2), COND) for p in (params, other)]
  np.testing.assert_allclose(*same, rtol=1e-6)


def test_a_look_is_a_mean_of_values_weighted_by_the_softmax():
  look = attention.Look(heads=2)
  x, tokens = jax.random.normal(KEY, (2, 3, 4)), jax.random.normal(jax.random.key(1), (2, 5, 6))
  seen = jnp.array([[1, 1, 0, 1, 0], [1, 0, 0, 0, 0]], bool)
  params = look.init(KEY, x, tokens, seen)
  params = jax.tree.map(lambda a: jax.random.normal(jax.random.key(2), a.shape), params)
  p = jax.tree.map(np.asarray, params["params"])
  dense = lambda name, a: np.asarray(a) @ p[name]["kernel"] + p[name]["bias"]
  q, k, v = dense("query", x), dense("key", tokens), dense("value", tokens)
  out = np.zeros((2, 3, 4))
  for b in range(2):
    for head in (slice(0, 2), slice(2, 4)):
      for n in range(3):
        scores = k[b][:, head] @ q[b, n, head] / 2**0.5
        weights = np.where(seen[b], np.exp(scores - scores.max()), 0)
        out[b, n, head] = weights @ v[b][:, head] / weights.sum()
  np.testing.assert_allclose(look.apply(params, x, tokens, seen), dense("out", out), rtol=2e-5)


def test_the_usual_ways():
  ways = conditioning.ways(ALL, SPEC)
  assert ways == {"label": "vector", "image": "channels", "text": "tokens", "vector": "vector"}
  points = core.DataSpec(shape=(2,)).beside(y=core.Field(shape=(2,)))
  assert conditioning.ways(("y",), points) == {"y": "channels"}
  assert conditioning.ways(("image:tokens",), SPEC) == {"image": "tokens"}
  number = core.DataSpec(shape=(2,)).beside(y=core.Field(shape=()))
  assert conditioning.ways(("y",), number) == {"y": "vector"}
  assert conditioning.names(("label", "image:tokens")) == ("label", "image")


@pytest.mark.parametrize("shape", [(), (2,), (2, 3), (4, 4, 1)])
def test_known_and_missing_fields_have_one_shape(shape):
  known = core.partial(jnp.ones((5, *shape)))
  missing = core.null(core.Field(shape=shape), 5)
  assert jax.tree.map(jnp.shape, known) == jax.tree.map(jnp.shape, missing)


@pytest.mark.parametrize("way", conditioning.WAYS)
def test_a_single_number_enters_in_every_way(way):
  spec = core.DataSpec(shape=(2,)).beside(y=core.Field(shape=()))
  net = mlp.MLP(widths=(8, 8), conditions=(f"y:{way}",), spec=spec)
  x = jnp.ones((3, 2))
  params = net.init(KEY, x, jnp.ones(3), {"y": jnp.arange(3.0)})
  params = jax.tree.map(lambda a: a + 0.3, params)
  heard = net.apply(params, x, jnp.ones(3), {"y": jnp.arange(3.0)})
  assert heard.shape == (3, 2) and np.abs(heard[1] - heard[2]).max() > 1e-3
  absent = net.apply(params, x, jnp.ones(3), {})
  assert np.isfinite(absent).all() and np.abs(heard - absent).max() > 1e-3


def test_channels_say_where_they_are_known_and_values_do_not():
  size = lambda way: NETS["mlp"]((f"image:{way}",)).init(KEY, X, None, COND)["params"]["Dense_0"]
  assert size("channels")["kernel"].shape[0] == 16 + 4 + 4
  assert size("values")["kernel"].shape[0] == 16 + 4


def test_pictures_are_resized_to_lie_over_x():
  joined = conditioning.join(jnp.zeros((1, 4, 4, 1)), (jnp.arange(4.0).reshape(1, 2, 2, 1),))
  np.testing.assert_array_equal(
    joined[0, ..., 1], np.arange(4.0).reshape(2, 2).repeat(2, 0).repeat(2, 1)
  )


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: NETS["mlp"](("mask",)), "data with a field 'mask'; they have label, image"),
    (lambda: NETS["mlp"](("image:sound",)), "unknown way of condition 'image' 'sound'"),
    (lambda: NETS["unet"](("label:channels",)), "'label' are integers"),
    (lambda: NETS["unet"](("vector:channels",)), "cannot lie beside pictures"),
    (lambda: NETS["mlp"](("image", "image:tokens")), "names 'image' twice"),
    (lambda: NETS["mlp"](("hole:values",)), "what is missing of 'hole' differs"),
    (lambda: mlp.MLP(widths=(), conditions=("label",), spec=SPEC), "cannot be told 'label'"),
    (lambda: cnn.CNN(conditions=("text",), spec=SPEC), "cnn: cannot be told 'text' as tokens"),
    (
      lambda: transformer.Transformer(
        conditions=("text",), spec=core.DataSpec(shape=(4,), levels=3, kind="tokens").beside(
          text=SPEC.fields["text"]
        ),
      ),
      "transformer: cannot be told 'text' as tokens",
    ),
  ],
)  # fmt: skip
def test_what_a_network_cannot_be_told_is_refused(make, message):
  with pytest.raises(core.UserError, match=message):
    make()
