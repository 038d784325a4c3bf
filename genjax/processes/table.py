"""The processes, and what goes with them in training, by name."""

from genjax.processes import (
  chains,
  continuous,
  corruptions,
  couplings,
  learned,
  schedules,
  times,
  weightings,
)

PROCESSES = {
  "ddpm": chains.DDPM,
  "ncsn": chains.NCSN,
  "vp": continuous.VP,
  "sub_vp": continuous.SubVP,
  "ve": continuous.VE,
  "edm": continuous.EDM,
  "cond_ot": continuous.CondOT,
  "cosine": continuous.CosineFlow,
  "polynomial": continuous.Polynomial,
  "learned": learned.Learned,
}
# One table for each kind of spec of a configuration, see core.Slot.
TABLES = {
  "process": PROCESSES,
  "noise": schedules.SCHEDULES,
  "corruption": corruptions.CORRUPTIONS,
  "weighting": weightings.WEIGHTINGS,
  "times": times.TIMES,
  "coupling": couplings.COUPLINGS,
}
