/* The floor: the least work with which any program gets the same result. No configuration, no timeouts, no log.
 *
 * floor checks N INTERVAL LOG FLAG PROBE
 *     Runs the probe for N services every INTERVAL seconds, evenly spread, and captures its output.
 * floor failover INTERVAL LOG FLAG PROBE FILE UP DOWN COMMAND...
 *     Runs one probe every INTERVAL seconds. When its result changes, replaces FILE atomically by a copy of UP or
 *     DOWN, syncs it, and runs COMMAND. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 8 };
extern char **environ;
static double begin, interval;
static int services;
static char **probe;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void sleep_until(double when)
{
    time_t whole = (time_t)when;
    struct timespec t = {.tv_sec = whole, .tv_nsec = (long)((when - (double)whole) * 1e9)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static void need(int good, const char *what)
{
    if (!good) {
        perror(what);
        exit(1);
    }
}

/* Runs a program and discards its output. Returns its exit code. */
static int run(char **argv)
{
    int out[2], err[2], status;
    pid_t pid;
    posix_spawn_file_actions_t actions;
    need(pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0, "pipe2");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    need(posix_spawn(&pid, argv[0], &actions, NULL, argv, environ) == 0, argv[0]);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    close(err[1]);
    struct pollfd fds[2] = {{.fd = out[0], .events = POLLIN}, {.fd = err[0], .events = POLLIN}};
    for (int open = 2; open > 0;) {
        char buffer[4096];
        poll(fds, 2, -1);
        for (int i = 0; i < 2; i++)
            if (fds[i].fd >= 0 && fds[i].revents != 0 && read(fds[i].fd, buffer, sizeof buffer) <= 0) {
                close(fds[i].fd);
                fds[i].fd = -1;
                open--;
            }
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* A worker thread, which runs every WORKERS-th check. */
static void *work(void *first)
{
    char id[16];
    char *argv[] = {probe[0], probe[1], probe[2], id, NULL};
    for (long n = (long)first;; n += WORKERS) {
        sleep_until(begin + (double)n * interval / services);
        snprintf(id, sizeof id, "%ld", n % services);
        run(argv);
    }
    return NULL;
}

static void replace(const char *path, const char *by)
{
    static char text[1 << 20];
    char temporary[4096];
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    int from = open(by, O_RDONLY | O_CLOEXEC);
    int to = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    ssize_t size = read(from, text, sizeof text);
    need(size > 0 && write(to, text, (size_t)size) == size && fsync(to) == 0, temporary);
    close(from);
    close(to);
    need(rename(temporary, path) == 0, path);
}

int main(int argc, char **argv)
{
    begin = now();
    if (argc == 7 && strcmp(argv[1], "checks") == 0) {
        char *of_all[] = {argv[6], argv[4], argv[5]};
        pthread_t thread;
        probe = of_all;
        services = atoi(argv[2]);
        interval = atof(argv[3]);
        for (long n = 1; n < WORKERS; n++)
            need(pthread_create(&thread, NULL, work, (void *)n) == 0, "pthread_create");
        work((void *)0);
    }
    if (argc >= 10 && strcmp(argv[1], "failover") == 0) {
        char *one[] = {argv[5], argv[3], argv[4], "0", NULL};
        for (int last = -1;; begin += atof(argv[2])) {
            sleep_until(begin);
            int failed = run(one) != 0;
            if (failed != last) {
                replace(argv[6], argv[failed ? 8 : 7]);
                run(argv + 9);
                last = failed;
            }
        }
    }
    fprintf(stderr, "usage: see the top of floor.c\n");
    return 2;
}
