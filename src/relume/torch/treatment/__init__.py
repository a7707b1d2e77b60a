"""The changes to PyTorch in a trial's process: activations, seeds and rates, without editing the script.

A survey (:mod:`~relume.torch.treatment.survey`) finds once what can be replaced; every trial is then treated by its
plan (:mod:`~relume.torch.treatment.treatment`), and everything is restored when it stops.
"""
