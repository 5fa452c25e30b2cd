#!/usr/bin/env bash
# Fault 2: system calls fail as the kernel may make them fail. Retried or that connection dropped; never an exit, a spin or
# a wrong answer. An EAGAIN that lies, where there was something to read, may cost its own client only.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need strace python3 pgrep
strace -qq -o /dev/null true 2>/dev/null || skip "tracing is not permitted here"

mkdir "$work/site"
head -c 300000 /dev/zero >"$work/site/large"

cases=(
    accept4:{ENOBUFS,ENOMEM,EMFILE,ENFILE,ECONNABORTED,EPROTO,EINTR,EPERM}
    recvfrom:{EINTR,EAGAIN,ENOBUFS,ENOMEM,ECONNRESET,ETIMEDOUT}
    sendto:{EINTR,EAGAIN,ENOBUFS,ENOMEM,EPIPE,ECONNRESET}
    sendfile:{EINTR,EAGAIN,EIO,ENOMEM,EPIPE}
    epoll_wait:EINTR
    epoll_ctl:{ENOMEM,ENOSPC}
    shutdown:ENOTCONN
    openat2:{EINTR,EAGAIN,ENOMEM,EMFILE,EIO}
)

for case in "${cases[@]}"; do
    call=${case%%:*}
    start strace -f -qq -o "$work/calls" -e "trace=$call" -e "inject=$call:error=${case##*:}:when=6..14" -- \
        --endpoints all --root "$work/site" --head-timeout 2s --body-timeout 2s --write-timeout 2s
    base
    served=$(probe storm "$address" 60) || fail "$case: $served"
    ((served >= 25)) || fail "$case: only $served of 60 were served"
    grep -q INJECTED "$work/calls" || fail "$case: the server makes no such call"
    # By now the calls tell the truth again.
    probe get "$address" /plaintext >/dev/null || fail "$case: not served afterwards"
    check_after "$case"
    stop || fail "$case: it did not end well"
done
echo "${#cases[@]} errors of $(printf '%s\n' "${cases[@]%%:*}" | sort -u | wc -l) system calls"
