"""The names of solvers, time grids and guidance methods, as configurations spell them."""

from genjax.samplers import (
  adams,
  adaptive,
  grids,
  guidance,
  langevin,
  multistep,
  singlestep,
  solvers,
)

SOLVERS = {
  "ancestral": solvers.Ancestral,
  "ddim": solvers.DDIM,
  "euler": singlestep.Euler,
  "euler_maruyama": singlestep.EulerMaruyama,
  "heun": singlestep.Heun,
  "dpm++": multistep.DPMSolver,
  "dpm++2s": singlestep.Midpoint,
  "unipc": multistep.UniPC,
  "lms": adams.LMS,
  "deis": adams.DEIS,
  "pndm": adams.PNDM,
  "adaptive": adaptive.Adaptive,
  "predictor_corrector": langevin.PredictorCorrector,
  "annealed_langevin": langevin.AnnealedLangevin,
}
TABLES = {"sampler": SOLVERS, "grid": grids.GRIDS, "guidance": guidance.GUIDANCE}
