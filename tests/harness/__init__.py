"""The kill matrix: a lab is built and taken down while something goes wrong at every single call.

    with Matrix(sandbox.start(slow_states=0, lag_ms=200), scratch) as matrix:
        recording = matrix.record(LABS["ec2"])           # one clean run: which calls change something?
        verdicts = matrix.run(cases.short(recording))    # the same, with one thing going wrong in each

How one case goes, each box a process of its own:

    test ---> warmed parent ---fork---> case ---fork---> up     killed at CreateSubnet, say
              boto3 loaded,             judges ---fork-> up     again: exactly one of each
              no threads                       ---fork-> down   nothing left, no open row

Each case has an AWS account of its own on one practice cloud, and a folder of its own for its ledger.
The judge never asks the ledger what stands: it lists the whole account with plain boto3.

| module    | what it holds                                                     |
|-----------|-------------------------------------------------------------------|
| labs      | `LABS`: the labs, as the harness runs them; a new lab is one line  |
| cases     | what goes wrong and where: for CI a short list, the full product    |
| traps     | what makes it go wrong: hooks in the process that runs the verb    |
| ecs_qa, .. | a chapter, and what its services show from outside                |
| outside   | what an account holds, and whether that is the lab                 |
| trial     | one case from an empty account to its verdict                      |
| forks     | a function in a process of its own                                 |
| matrix    | the warmed parent, and the handle to it                            |
| switch    | labs that end by themselves, and laptops that never come back      |
| part      | a part of the matrix, for labs of which CI cannot run the whole     |
| broken    | ledgers with a fault, to prove that the harness sees it            |
"""

from harness.batch_sweep import BATCH_SWEEP
from harness.cases import Case, Recording, full, short
from harness.ecs_qa import ECS_QA
from harness.gpu import GPU
from harness.labs import LABS, Lab
from harness.matrix import Matrix
from harness.serverless import SERVERLESS
from harness.switch import switched
from harness.trial import Verdict, report

# Those too of which CI runs a part only.
EVERY_LAB = {**LABS, **{lab.name: lab for lab in (GPU, ECS_QA, BATCH_SWEEP, SERVERLESS)}}

__all__ = [
    "BATCH_SWEEP",
    "ECS_QA",
    "EVERY_LAB",
    "GPU",
    "LABS",
    "SERVERLESS",
    "Case",
    "Lab",
    "Matrix",
    "Recording",
    "Verdict",
    "full",
    "report",
    "short",
    "switched",
]
