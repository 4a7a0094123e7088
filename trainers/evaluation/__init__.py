"""Whether a run's result is better than its base, what it cost, and what to do about it.

Owns answering the sealed test rows, the probes, the gates, and the verdict. Refuses to train and to draw. `records`
are what is kept, `arm` is a model that is asked (it loads torch), `quality` the test rows, and `examine` carries it all
out.

A probe looks at base and result from one side: what was memorised, what was forgotten, what bias was learned. To add
one, write a file with a subclass of `probe.Probe`, and name it in `probes`: worker, command line, report, model card
and screen take it from there.
"""
