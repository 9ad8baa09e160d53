package main

import (
	"context"
	_ "unsafe" // go:linkname

	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/credential/cert"
	"github.com/hashicorp/vault/builtin/logical/pki"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/vault"
)

// A release of Vault is made with the sdk of its own tree, which is no module. That of the module which its go.mod names
// panics at a path that creates without a check for existence; paths of what this edition does not have are such.
//
//go:linkname enterprisePaths github.com/hashicorp/vault/vault.entPaths
var enterprisePaths func(*vault.SystemBackend) []*framework.Path

func nothingExists(context.Context, *logical.Request, *framework.FieldData) (bool, error) {
	return false, nil
}

func completePaths() {
	made := enterprisePaths
	enterprisePaths = func(backend *vault.SystemBackend) []*framework.Path {
		paths := made(backend)
		for _, path := range paths {
			if path.ExistenceCheck == nil {
				path.ExistenceCheck = nothingExists
			}
		}
		return paths
	}
}

var secrets = map[string]logical.Factory{"pki": pki.Factory}
var logins = map[string]logical.Factory{"approle": approle.Factory, "cert": cert.Factory}

// What the plugin catalogue asks for; nothing is deprecated.
type registry struct{}

func factories(kind consts.PluginType) map[string]logical.Factory {
	switch kind {
	case consts.PluginTypeSecrets:
		return secrets
	case consts.PluginTypeCredential:
		return logins
	default:
		return nil
	}
}

func (registry) Get(name string, kind consts.PluginType) (func() (interface{}, error), bool) {
	factory, ok := factories(kind)[name]
	return func() (interface{}, error) { return factory, nil }, ok
}

func (registry) Contains(name string, kind consts.PluginType) bool {
	_, ok := factories(kind)[name]
	return ok
}

func (registry) Keys(kind consts.PluginType) []string {
	var names []string
	for name := range factories(kind) {
		names = append(names, name)
	}
	return names
}

func (r registry) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, r.Contains(name, kind)
}

func (registry) IsBuiltinEntPlugin(string, consts.PluginType) bool {
	return false
}
