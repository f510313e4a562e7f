# Two commands do everything:  make up   and   make test
# Every target only shortens commands that also work by themselves; see `make help`.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help fit sudo up down setup lab infra preview resize plan drift status audit deploy verify prove page bans unban cluster switchover reinit pause resume alert-test db-password db-dump db-import vpn inventory env check doctor destroy backup-state test test-full test-groups unit lint bench bench-failover

# without stack= the stack is `lab`, and its file is made from the example; with lab=1 that holds for any other name
ifeq ($(origin stack),undefined)
stack := lab
lab := 1
endif
only ?=
limit ?=
address ?=
rounds ?=
person ?=
keygen ?=
to ?=
machine ?=
disk ?=
force ?=
adopt ?=
role ?=
database ?=
from ?=
schema ?=
verification ?=
PYTHON ?= python3
VENV := .venv/bin
# Every target is many programs in Python. Where this is set (containers do so) each would compile the project anew: 5 s
# of a core for the tests alone.
unexport PYTHONDONTWRITEBYTECODE
# the environment of the bare commands, for one recipe line
IN = set -e; eval "$$($(VENV)/python -m tools env --stack $(stack))";
# what the checks of the buckets and of the provider need, where the passphrase is there; by the environment, never by
# words of a command
KEYS = eval "$$(python -m stacks check-keys $(stack))";
FILE = stacks/Pulumi.$(stack).yaml
# what a hint adds to a target
OF = $(if $(filter-out lab,$(stack)), stack=$(stack))
comma := ,
# what pytest calls "a or b"
PICK = $(if $(only),-k "$(subst $(comma), or ,$(only))")
# the tests: labs side by side, as many as there is memory for (workers=1: one after the other, in this process workers=0)
workers ?= auto
TESTS = $(VENV)/pytest -n $(workers) --dist loadscope $(if $(only),--only "$(only)")
# what to shorten first, said at the end of every run
SLOWEST = --durations=15 --durations-min=20

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'
	@echo
	@echo "  stack=NAME    another stack than lab        only=ssh,users   some capabilities (deploy, verify), some tests (test)"
	@echo "  verbose=1     with up: all that Pulumi and pyinfra print, which otherwise goes to build/NAME/log/"
	@echo "  limit=NAME    one machine or group          eval \"\$$(make env stack=NAME)\"   for the bare commands"

# these tell what matters of the long outputs and keeps them in a log; the parts by themselves show everything
up bans unban cluster switchover reinit pause resume alert-test: SHOWN = $(if $(verbose),,python -m tools shown --log build/$(stack)/log/$@.log --)
up: fit sudo setup lab infra deploy prove ## from nothing to a proven platform and its security page
	@echo
	@echo "next: open build/$(stack)/security.html      look around: ssh -F build/$(stack)/ssh_config primary"
	@echo "      change $(FILE), then make deploy$(OF)      remove the local cloud again: make down$(OF)"

# said first, before anything is asked for or installed; a stack without a local cloud does not care
fit:
	@$(if $(lab),$(PYTHON) -m lab.host)

# asked for once, here, where there is a terminal; the lab needs root
sudo:
	@[ "$$(id -u)" = 0 ] || ! command -v sudo >/dev/null || sudo -n true 2>/dev/null || sudo -v

setup: ## install what is missing: Debian packages, .venv, Pulumi and its provider
	@$(PYTHON) -m tools bootstrap
	@$(VENV)/python -m tools install

lab: ## start the local cloud, when the stack file has the key settings.lab
	@$(IN) python -m stacks init $(stack) --no-file $(if $(lab),--lab)
	@$(IN) python -m stacks lab-up $(stack)

infra: ## pulumi up: make servers, networks, firewalls
	@$(IN) python -m hosts access --stack $(stack)
	@$(IN) python -m stacks recover $(stack)
	@$(IN) $(SHOWN) pulumi up --yes --skip-preview --stack $(stack)

preview: ## pulumi preview: what `make infra` would change
	@$(IN) pulumi preview --diff --stack $(stack)

# make itself ends with 2 whatever a recipe ends with: scripts call `python -m hosts plan`, see docs/reference/exit-codes.md
plan: ## what infra and deploy would change, file by file; changes nothing
	@$(IN) python -m hosts plan --stack $(stack)

drift: ## what is not as it was made, at the provider and on the machines; changes nothing
	@$(IN) python -m hosts drift --stack $(stack)

status: ## one line a machine: how it is, from which revision, how fresh its proofs are
	@$(IN) python -m hosts status --stack $(stack)

audit: ## what Lynis, systemd and debsums say of every machine, beside stock Debian     [limit=standby]
	@$(IN) python -m hosts audit --stack $(stack) $(if $(limit),--limit '$(limit)')

resize: ## give one server the type that the stack file says, the others well     machine=NAME [disk=1] [force=1]
	@$(IN) python -m hosts resize --stack $(stack) --machine '$(machine)' $(if $(disk),--grow-disk) $(if $(force),--force)

deploy: ## pyinfra: harden and configure the machines      [only=ssh,users] [limit=standby]
	@$(IN) $(SHOWN) pyinfra -y --fail-percent 0 hosts/inventory.py deploys/site.py $(if $(only),--data only=$(only)) $(if $(adopt),--data 'adopt=$(adopt)') $(if $(limit),--limit $(limit))

verify: inventory ## testinfra: prove every control, write the evidence     [only=ssh,users] [verification=1: as the checks' account]
	@$(IN) $(KEYS) pytest tests/verify -q $(PICK) $(if $(verification),--verification)

prove: inventory ## verify, then write the page, with its reasons when something is not proven
	@$(IN) $(KEYS) code=0; pytest tests/verify -q || code=$$?; python -m bastide page --stack $(stack) || code=$$?; exit $$code

page: ## write the security page from the evidence
	@$(IN) python -m bastide page --stack $(stack)

bans: ## whom fail2ban has banned, on each machine, since when and until when     [limit=standby]
	@$(IN) $(SHOWN) pyinfra --dry hosts/inventory.py deploys/commands/bans.py $(if $(limit),--limit $(limit))

unban: ## lift an address's bans      address=203.0.113.9 [limit=standby]
	@$(IN) $(SHOWN) pyinfra -y hosts/inventory.py deploys/commands/unban.py $(if $(address),--data 'address=$(address)') $(if $(limit),--limit $(limit))

cluster: ## how the database cluster is: members, lag, slots, voters
	@$(IN) $(SHOWN) pyinfra --dry hosts/inventory.py deploys/commands/cluster_status.py $(if $(limit),--limit $(limit))

switchover: ## hand the database over to another site, without a loss     [to=standby]
	@$(IN) $(SHOWN) pyinfra -y --fail-percent 0 hosts/inventory.py deploys/commands/switchover.py $(if $(to),--data 'to=$(to)') $(if $(limit),--limit $(limit))

reinit: ## make one machine's copy of the database anew          machine=standby [force=1]
	@$(IN) $(SHOWN) pyinfra -y --fail-percent 0 hosts/inventory.py deploys/commands/reinit.py $(if $(machine),--data 'replica=$(machine)') $(if $(force),--data force=1)

pause: ## let Patroni decide nothing: no failover until `make resume`
	@$(IN) $(SHOWN) pyinfra -y --fail-percent 0 hosts/inventory.py deploys/commands/pause.py $(if $(limit),--limit $(limit))

resume: ## let Patroni decide again
	@$(IN) $(SHOWN) pyinfra -y --fail-percent 0 hosts/inventory.py deploys/commands/resume.py $(if $(limit),--limit $(limit))

alert-test: ## send a test message through every way of alerts, from each machine     [machine=NAME]
	@$(IN) $(SHOWN) pyinfra -y hosts/inventory.py deploys/commands/alert_test.py $(if $(machine),--limit '$(machine)')

db-password: ## the password of a role of the database, at a terminal or into a file     role=app [to=FILE]
	@$(IN) python -m hosts db-password --stack $(stack) --role '$(role)' $(if $(to),--to '$(to)')

db-dump: ## a database into a file of yours      database=NAME to=FILE [machine=standby] [schema=1]
	@$(IN) python -m hosts db-dump --stack $(stack) --database '$(database)' --to '$(to)' $(if $(machine),--machine '$(machine)') $(if $(schema),--schema-only)

db-import: ## a dump from anywhere into a declared, empty database      database=NAME from=FILE [force=1]
	@$(IN) python -m hosts db-import --stack $(stack) --database '$(database)' --from '$(from)' $(if $(force),--force)

vpn: ## what joins a device to the mesh      person=NAME [keygen=1: make its key here, with a QR code]
	@$(IN) python -m hosts vpn --stack $(stack) --person "$(person)" $(if $(keygen),--new-key)

inventory: ## write the secret-free inventory that checks run from
	@$(IN) python -m hosts inventory --stack $(stack)

env: ## print what the bare commands need: eval "$(make env stack=NAME)"
	@$(VENV)/python -m tools env --stack $(stack)

check: ## show every mistake of the stack file at once
	@$(VENV)/python -m bastide check $(FILE)

doctor: ## what this machine and the stack lack, each line with the next step
	@[ -x $(VENV)/python ] || { echo "✗ there is no .venv; next: make setup"; exit 1; }
	@code=0; if [ ! -e $(FILE) ] || grep -q '^ *lab:' $(FILE); then $(VENV)/python -m lab --name $(stack) doctor || code=1; fi; \
	$(IN) python -m hosts doctor --stack $(stack) || code=1; exit $$code

down: ## remove the local cloud of a stack and what was recorded of its machines
	@$(VENV)/python -m lab --name $(stack) down
	@$(IN) python -m stacks lab-forget $(stack)

backup-state: ## write the state to a file, secrets encrypted                 to=FILE
	@$(IN) python -m stacks backup $(stack) "$(or $(to),build/$(stack)/state-backup.json)"

destroy: ## pulumi destroy; refused while settings.protection is true
	@$(IN) python -m stacks may-destroy $(stack)
	@$(IN) pulumi destroy --stack $(stack)

test: sudo setup ## unit tests, the cloud's API, and the whole flow with its faults       [only=test_firewall]
	@$(TESTS) $(SLOWEST)

test-full: sudo setup ## the same, and what is rare and long: all, or a group of `make test-groups`     [only=GROUP]
	@$(TESTS) $(SLOWEST) --full

test-groups: ## how the tests are divided, and how old each group's last green run is
	@$(VENV)/python -m tests.groups

unit: ## in under a minute: lint, types, import contracts and unit tests
	@$(PYTHON) -m tools bootstrap
	@$(TESTS) tests/unit

lint: ## ruff and mypy --strict
	@$(VENV)/ruff check . && $(VENV)/ruff format --check . && $(VENV)/mypy

bench: sudo setup ## what users wait for, measured side by side     [publish=1: into docs/reference/speed.md]
	@$(VENV)/python -m benchmarks $(if $(publish),--publish)

bench-failover: sudo setup ## for how long writes stop when the leader fails, and what is lost     [rounds=20]
	@$(VENV)/python -m benchmarks.failover $(if $(rounds),--rounds $(rounds))

# What is typed behind a target is for this make alone. Exported, as make does with it, it reaches the one that a rehearsal
# calls: `make test-full only=alerts` would deploy the capability of that name and nothing else. Last, since `?=` takes
# what is named here for set.
unexport stack lab only limit address rounds person keygen to machine disk force adopt role database from schema verification
unexport workers verbose publish
