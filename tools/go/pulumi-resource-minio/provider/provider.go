// Package provider describes the Terraform provider for MinIO, and so for S3, to the Pulumi bridge.
//
// The result has the resources and inputs of the published pulumi-minio package, and some more;
// tests/unit/tools/test_schema.py holds it to the SDK that requirements.txt pins.
package provider

import (
	"github.com/aminueza/terraform-provider-minio/v2/minio"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge/tokens"
	sdkv2 "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
)

// Version is set by the linker (tools/versions.py); it must equal the version of the SDK.
var Version = "0.0.0-dev"

// Name is the package's name in Pulumi and the prefix of every resource in Terraform.
const Name = "minio"

// Info returns the bridge's description of the provider. metadata is gen/bridge-metadata.json.
func Info(metadata []byte) tfbridge.ProviderInfo {
	info := tfbridge.ProviderInfo{
		P:            sdkv2.NewProvider(minio.Provider()),
		Name:         Name,
		DisplayName:  "MinIO",
		Description:  "Buckets of any S3 server, bridged from the Terraform provider for MinIO.",
		License:      "Apache-2.0",
		GitHubOrg:    "aminueza",
		Version:      Version,
		MetadataInfo: tfbridge.NewProviderMetadata(metadata),
	}
	// everything lies in the module "index", as in the published package
	info.MustComputeTokens(tokens.SingleModule(Name+"_", "index", tokens.MakeStandard(Name)))
	info.MustApplyAutoAliases()
	info.SetAutonaming(255, "-")
	return info
}
