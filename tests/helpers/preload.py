"""What commands import, for the server that they are forks of. Nothing here may start a thread."""

import h5py  # noqa: F401
import pyarrow  # noqa: F401
import torch  # noqa: F401
import transformers  # noqa: F401

import cli  # noqa: F401
from stages import cache_teacher, train_student  # noqa: F401
