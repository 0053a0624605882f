"""What a search asks a network, and what it has found."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
