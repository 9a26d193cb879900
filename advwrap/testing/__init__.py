"""The public test kit: contracts, strategies, victims and environments to test a block of your own.

It needs the extra ``advwrap[testing]`` (pytest and Hypothesis). Nothing in advwrap imports it.
"""
