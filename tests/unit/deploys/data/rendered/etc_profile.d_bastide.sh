# Written by Bastide (deploys/accounts.py): for whoever types; commands that come by ssh read none of it.
umask 027
# as limits.d and systemd have it, for a shell that neither of them began
ulimit -c 0
case $- in
*i*)
    # a shell that a shell began has it already; sh knows no such thing
    case ${BASH_VERSION:+$(readonly -p)} in
    '' | *' TMOUT='*) ;;
    *)
        declare -xr TMOUT=600
        ;;
    esac
    ;;
esac
