module peers/vault

go 1.21

// Under the Mozilla Public License, as later releases of Vault are not; api and sdk as its own go.mod names them. 1.14.3 and
// later need more of sdk than the module that they name has.
require (
	github.com/hashicorp/vault v1.14.2
	github.com/hashicorp/vault/api v1.9.2
	github.com/hashicorp/vault/sdk v0.9.2
)
