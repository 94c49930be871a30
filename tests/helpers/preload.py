"""What commands import, for the server that they are forks of. Nothing here may start a thread."""

import accelerate  # noqa: F401
import h5py  # noqa: F401
import pyarrow.parquet  # noqa: F401
import sklearn.metrics  # noqa: F401
import torch  # noqa: F401
import transformers.models.bert.modeling_bert
import transformers.models.bert.tokenization_bert  # noqa: F401

import cli  # noqa: F401
from stages import cache_teacher, train_student  # noqa: F401
