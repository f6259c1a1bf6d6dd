"""Cases of glibc's handling of large tensors' memory: python cpu_memory_cases.py, in a new process."""

import os
import resource
import sys
import traceback

import torch

from mmsimclr.cpu_memory import is_memory_kept, kept_memory

TIMES, FEW = 4, 16
PAGES_OF_2_MIB = 32                                          # of a tensor of 64 MiB, where a system has them


def page_faults(mib: int, warm_up: int = 10) -> int:
    """Return how often the kernel gives a page to tensors that come and go: the least of three rounds.

    What else lies in the heap may move its end, and a block then gets new pages once.
    """
    def come_and_go(times: int) -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(times):
            torch.ones(mib << 20, dtype=torch.uint8)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    come_and_go(warm_up)                                     # until the heap is large enough
    return min(come_and_go(TIMES) for _ in range(3))


def resident_mib() -> int:
    with open('/proc/self/status', encoding='utf-8') as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith('VmRSS'))


def case_within_they_use_theirs_again_and_usually_get_new_pages():
    assert page_faults(64) >= TIMES * PAGES_OF_2_MIB
    with kept_memory():
        assert page_faults(64) < FEW
        with kept_memory():
            pass
        assert page_faults(64) < FEW, 'an inner context ends nothing'


def case_of_large_blocks_only_the_heap_is_kept_on_demand():
    def heap_comes_and_goes() -> int:
        """Return the page faults of blocks in the heap, whose end is usually given back at 64 MiB."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(TIMES):
            blocks = [torch.ones(30 << 20, dtype=torch.uint8) for _ in range(4)]
            del blocks
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    page_faults(30)                                          # glibc learns that such blocks come often
    with kept_memory(large_blocks=False):
        heap_comes_and_goes()
        assert heap_comes_and_goes() < FEW
        new_pages = page_faults(160, warm_up=2)              # more than what is free in the heap
        assert new_pages >= TIMES * PAGES_OF_2_MIB
        with kept_memory():
            assert page_faults(160, warm_up=2) <= new_pages / 2


def case_afterwards_all_is_as_usual():
    usual = [page_faults(mib) for mib in (4, 16, 30, 64)]
    with kept_memory():
        pass
    after = [page_faults(mib) for mib in (4, 16, 30, 64)]
    assert max(usual[:3]) < FEW < TIMES * PAGES_OF_2_MIB <= usual[3], usual
    assert max(after[:3]) < FEW < TIMES * PAGES_OF_2_MIB <= after[3], after


def case_memory_is_given_back_at_the_end():
    before = resident_mib()
    with kept_memory():
        torch.ones(640 << 20, dtype=torch.uint8)
        within = resident_mib()
    assert within - before >= 600, (before, within)
    assert resident_mib() - before <= 100, (before, resident_mib())


def case_forked_processes_keep_nothing():
    with kept_memory():
        child = os.fork()
        if not child:
            before = resident_mib()
            block = bytearray(640 << 20)                     # torch's threads do not outlive a fork
            within = resident_mib()
            del block
            gave_back = within - before >= 600 and resident_mib() - before <= 100
            os._exit(0 if gave_back and not is_memory_kept() else 1)
        assert os.waitpid(child, 0)[1] == 0 and is_memory_kept()


def run_forked(case) -> bool:
    """Run a case in a fork; return whether it succeeded."""
    child = os.fork()
    if not child:
        try:
            case()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


if __name__ == '__main__':
    torch.set_num_threads(1)
    results = [run_forked(case) for name, case in list(globals().items()) if name.startswith('case_')]
    sys.exit(not all(results))
