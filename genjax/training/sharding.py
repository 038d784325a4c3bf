"""Where arrays live: the batch is cut over all devices of all hosts, everything else is on each.

One mesh with one axis, "data"; jit inserts the one all-reduce of the gradients. The axis type is
Auto: with Explicit axes, indexing a table by a sharded array fails.
"""

import zlib

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from genjax import core


def join(how: str) -> None:
  """Joins the other hosts, before anything asks for devices.

  how: "auto" on machines that know each other (TPU pods, Slurm), else "ADDRESS,COUNT,INDEX": the
  host:port of process 0, the number of processes, and which of them this is.
  """
  address, _, rest = how.partition(",")
  count, _, index = rest.partition(",")
  try:
    if how == "auto":
      jax.distributed.initialize()
    else:
      jax.distributed.initialize(address, int(count), int(index))
  except (ValueError, RuntimeError) as e:
    raise core.UserError(
      f"--distributed={how}: {e}; expected auto, or ADDRESS:PORT,COUNT,INDEX"
    ) from None


def mesh() -> Mesh:
  """All devices of all hosts along "data", host by host: `rows` counts on that order."""
  devices = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
  return Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))


def replicated(over: Mesh) -> NamedSharding:
  """A whole copy on every device."""
  return NamedSharding(over, PartitionSpec())


def batched(over: Mesh, axis: int = 0) -> NamedSharding:
  """One axis cut over the devices."""
  return NamedSharding(over, PartitionSpec(*[None] * axis, "data"))


def check(name: str, size: int, slices: int = 1) -> None:
  """UserError unless `size` examples in `slices` can be cut over all devices."""
  devices = jax.device_count()
  if size % (devices * slices):
    of = f" in accumulate={slices} slices" if slices > 1 else ""
    raise core.UserError(
      f"{name}={size}{of} does not divide by {devices} devices; "
      f"use a multiple of {devices * slices}"
    )


def check_alike(name: str, value: str) -> None:
  """UserError unless all hosts have the same value: a download may have failed on one of them."""
  if jax.process_count() > 1:
    from jax.experimental import multihost_utils

    own = np.uint32(zlib.crc32(value.encode()))
    if len(np.unique(multihost_utils.process_allgather(own))) > 1:
      raise core.UserError(f"{name} differs between hosts; process {jax.process_index()}: {value}")


def rows(size: int) -> slice:
  """The rows of a global batch that this host loads."""
  own = size // jax.process_count()
  return slice(jax.process_index() * own, (jax.process_index() + 1) * own)


def place(batch: dict[str, np.ndarray], over: Mesh, axis: int = 0) -> core.Batch:
  """This host's rows, which lie along an axis, as part of the global batch on the devices."""
  where = batched(over, axis)
  return jax.tree.map(lambda rows: jax.make_array_from_process_local_data(where, rows), batch)
