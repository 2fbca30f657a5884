"""``python -m mmkn_widgets.cli`` is ``mmkn``."""

import sys

from . import main

sys.exit(main())
