"""How much the random tests of this folder try.

`PODIUM_TEST_EXAMPLES`: worlds to play by seed (default 60); Hypothesis plays a third as many.
`PODIUM_TEST_SEED`: the first of the seeds (default 0).
"""

from __future__ import annotations

import os

EXAMPLES = int(os.environ.get("PODIUM_TEST_EXAMPLES", "60"))
FIRST_SEED = int(os.environ.get("PODIUM_TEST_SEED", "0"))
