# Bastide (deploys/accounts.py): begin
umask 027
. /etc/profile.d/bastide.sh
# Bastide (deploys/accounts.py): end
