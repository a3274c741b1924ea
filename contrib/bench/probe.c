/* probe LOG FLAG ID: the check of the benchmark.
 *
 * Records in LOG which service was checked, the result, and the time of its start (CLOCK_MONOTONIC, as early as
 * possible), in one write, so that records of concurrent probes do not mix. Passes while FLAG exists. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (argc != 4)
        return 2;
    int failed = access(argv[2], F_OK) != 0;
    uint64_t ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    uint64_t record[2] = {ns, (uint64_t)atoi(argv[3]) << 1 | (uint64_t)failed};
    int log = open(argv[1], O_WRONLY | O_APPEND);
    if (log < 0 || write(log, record, sizeof record) != sizeof record)
        return 3;
    return failed;
}
