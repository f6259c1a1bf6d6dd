"""Tests that look for harm: hypothesis makes up what a test would not think of.

The profile ``short`` takes the same examples each time. ``make fuzz MINUTES=30`` takes ``long``, with others
each time, round after round; what failed is printed, and can be repeated by the decorator that hypothesis
prints with it.
"""

import os

from hypothesis import HealthCheck, settings

COMMON = dict(deadline=None, database=None, print_blob=True,
              suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large,
                                     HealthCheck.function_scoped_fixture])
EXAMPLES = int(os.environ.get('MMSIMCLR_EXAMPLES') or 0)            # of a test, in either profile
settings.register_profile('short', max_examples=EXAMPLES or 30, stateful_step_count=8, derandomize=True,
                          **COMMON)
settings.register_profile('long', max_examples=EXAMPLES or 100, stateful_step_count=15, **COMMON)


def pytest_configure(config):
    """Take the short profile unless the command line names another."""
    if not config.getoption('--hypothesis-profile'):
        settings.load_profile('short')
