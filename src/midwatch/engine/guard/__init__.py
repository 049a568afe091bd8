"""Guards at work: the only place where samples are taken in time.

sampler.py looks at every run by its own pace, budget.py knows the lines, host.py watches the machine, leaks.py what
grows slowly, drain.py asks a run to leave, kept.py keeps what the guards know across engines. What a number means is
decided in policy/guard and policy/leaks; what follows, by the policy's `step`.
"""
