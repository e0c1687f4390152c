"""Imports torchvision, also with a build of torch that its wheel was not built for."""

import torch

for name in ("register_fake",):  # a torchvision without its compiled part still has
    wrapped = getattr(torch.library, name)  # the networks

    def tolerant(*args, _wrapped=wrapped, **kwargs):
        try:
            decorate = _wrapped(*args, **kwargs)
        except RuntimeError:
            return lambda function: function

        def quietly(function):
            try:
                return decorate(function)
            except RuntimeError:
                return function

        return quietly

    setattr(torch.library, name, tolerant)

_impl = torch.library.Library.impl


def _tolerant_impl(self, *args, **kwargs):
    try:
        return _impl(self, *args, **kwargs)
    except RuntimeError:
        return None


torch.library.Library.impl = _tolerant_impl

import torchvision

__all__ = ["torch", "torchvision"]
