"""How arrays are placed on the devices.

The batch is cut over all devices of all hosts; every device holds a whole copy of everything else.
There is one mesh with one axis, "data", and jit inserts the one all-reduce of the gradients.
"""

import zlib

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from genjax import core


def join(how: str) -> None:
  """Joins the other hosts. Call it before anything asks for devices.

  how: "auto" on machines that know each other (TPU pods, Slurm), else "ADDRESS:PORT,COUNT,INDEX":
    where process 0 listens, the number of processes, and the index of this one.

  Raises UserError if `how` cannot be read, or if the hosts do not find each other.
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
  """Returns the mesh of all devices of all hosts along the axis "data"."""
  # Host by host: the rows that `rows` gives to a host are those of its own devices.
  devices = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
  # With an axis of type Explicit, indexing a table by a sharded array fails.
  return Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))


def replicated(over: Mesh) -> NamedSharding:
  """Returns the placement of arrays of which every device holds a whole copy."""
  return NamedSharding(over, PartitionSpec())


def batched(over: Mesh, axis: int = 0) -> NamedSharding:
  """Returns the placement of arrays that are cut along one axis over the devices."""
  return NamedSharding(over, PartitionSpec(*[None] * axis, "data"))


def check(name: str, size: int, slices: int = 1) -> None:
  """Raises UserError unless a batch can be cut evenly over all devices.

  name: what the message calls the size.
  size: the number of examples.
  slices: the number of slices that the batch is first cut into, to accumulate gradients.
  """
  devices = jax.device_count()
  if size % (devices * slices):
    of = f" in accumulate={slices} slices" if slices > 1 else ""
    raise core.UserError(
      f"{name}={size}{of} does not divide by {devices} devices; "
      f"use a multiple of {devices * slices}"
    )


def check_alike(name: str, value: str) -> None:
  """Raises UserError unless all hosts have the same value.

  Hosts can differ: a download may have failed on one of them, for example.
  name: what the message calls the value.
  """
  if jax.process_count() > 1:
    from jax.experimental import multihost_utils

    # The hosts can exchange numbers only, so they compare a checksum.
    own = np.uint32(zlib.crc32(value.encode()))
    if len(np.unique(multihost_utils.process_allgather(own))) > 1:
      raise core.UserError(f"{name} differs between hosts; process {jax.process_index()}: {value}")


def rows(size: int) -> slice:
  """Returns which rows of a global batch of `size` examples this host loads."""
  own = size // jax.process_count()
  return slice(jax.process_index() * own, (jax.process_index() + 1) * own)


def place(batch: dict[str, np.ndarray], over: Mesh, axis: int = 0) -> core.Batch:
  """Places a batch on the devices.

  batch: this host's rows of the global batch.
  over: the mesh of all devices.
  axis: the axis of the rows: 0 for [B, ...], 1 for a stack of batches [steps, B, ...].
  """
  where = batched(over, axis)
  return jax.tree.map(lambda rows: jax.make_array_from_process_local_data(where, rows), batch)
