// Package provider describes the Terraform provider for Hetzner Cloud to the Pulumi bridge.
//
// The result has the same resources and inputs as the published pulumi-hcloud package;
// tests/unit/tools/test_schema.py holds it to the SDK that requirements.txt pins.
package provider

import (
	"context"

	"github.com/hetznercloud/terraform-provider-hcloud/hcloud"
	pf "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge/tokens"
	shim "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim"
	sdkv2 "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
)

// Version is set by the linker (tools/versions.py); it must equal the version of the SDK.
var Version = "0.0.0-dev"

// Name is the package's name in Pulumi and the prefix of every resource in Terraform.
const Name = "hcloud"

// Info returns the bridge's description of the provider. metadata is gen/bridge-metadata.json.
func Info(ctx context.Context, metadata []byte) tfbridge.ProviderInfo {
	info := tfbridge.ProviderInfo{
		// one half of the provider is written for SDKv2, the other for the plugin framework
		P:            pf.MuxShimWithDisjointgPF(ctx, sdkv2.NewProvider(hcloud.Provider()), hcloud.NewPluginProvider()),
		Name:         Name,
		DisplayName:  "Hetzner Cloud",
		Description:  "Hetzner Cloud resources, bridged from the Terraform provider.",
		License:      "Apache-2.0",
		GitHubOrg:    "hetznercloud",
		Version:      Version,
		MetadataInfo: tfbridge.NewProviderMetadata(metadata),
		Resources: map[string]*tfbridge.ResourceInfo{
			"hcloud_server": {Fields: map[string]*tfbridge.SchemaInfo{
				// without a default for this computed list every second preview shows a change of the network block
				"network": {Elem: &tfbridge.SchemaInfo{Fields: map[string]*tfbridge.SchemaInfo{
					"alias_ips": {Default: &tfbridge.DefaultInfo{ComputeDefault: noAddresses}},
				}}},
			}},
		},
	}
	stringIDs(&info)
	// everything lies in the module "index", as in the published package
	info.MustComputeTokens(tokens.SingleModule(Name+"_", "index", tokens.MakeStandard(Name)))
	info.MustApplyAutoAliases()
	info.SetAutonaming(255, "-")
	return info
}

// noAddresses is a function because the bridge takes only plain values as constant defaults.
func noAddresses(context.Context, tfbridge.ComputeDefaultOptions) (any, error) {
	return []any{}, nil
}

// stringIDs makes every id a string: Pulumi knows no other ids, the plugin framework half has numbers.
func stringIDs(info *tfbridge.ProviderInfo) {
	info.P.ResourcesMap().Range(func(name string, resource shim.Resource) bool {
		id, found := resource.Schema().GetOk("id")
		if !found || id.Type() == shim.TypeString {
			return true
		}
		known := info.Resources[name]
		if known == nil {
			known = &tfbridge.ResourceInfo{}
			info.Resources[name] = known
		}
		if known.Fields == nil {
			known.Fields = map[string]*tfbridge.SchemaInfo{}
		}
		known.Fields["id"] = &tfbridge.SchemaInfo{Type: "string"}
		return true
	})
}
