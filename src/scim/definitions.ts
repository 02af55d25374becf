/**
 * The schema definitions, from scimmy, relaxed where its canonical values refuse what the vendors document: RFC 7643
 * section 7 calls canonicalValues suggestions, scimmy enforces them (`roles[].type` even with an empty list).
 * The shared definitions of the library stay as they are: these are copies.
 */
import SCIMMY from 'scimmy';

export const coreUserUrn = 'urn:ietf:params:scim:schemas:core:2.0:User';
export const coreGroupUrn = 'urn:ietf:params:scim:schemas:core:2.0:Group';
export const enterpriseUrn = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User';

export type Attribute = SCIMMY.Types.Attribute;
export type SchemaDefinition = SCIMMY.Types.SchemaDefinition;

function relax(attribute: Attribute): Attribute {
  const config = { ...attribute.config, canonicalValues: false };
  const subAttributes = (attribute.subAttributes ?? []).map(relax);
  // A reference may be relative, and a vendor's placeholder is no reason to refuse a person: checked as text.
  const type = attribute.type === 'reference' ? 'string' : attribute.type;
  return new SCIMMY.Types.Attribute(type, attribute.name, config, subAttributes);
}

function relaxed(definition: SchemaDefinition): SchemaDefinition {
  const own = definition.attributes.filter((attribute) => attribute instanceof SCIMMY.Types.Attribute);
  return new SCIMMY.Types.SchemaDefinition(
    definition.name,
    definition.id,
    definition.description,
    own.filter((attribute) => !['schemas', 'id', 'externalId', 'meta'].includes(attribute.name)).map(relax),
  );
}

/** As published by /Schemas: scimmy's own description, with canonical values as suggestions where there are any. */
export const publishedDefinitions: readonly SchemaDefinition[] = [
  SCIMMY.Schemas.User.definition,
  SCIMMY.Schemas.Group.definition,
  SCIMMY.Schemas.EnterpriseUser.definition,
];

/** As enforced: the last validator of what is written. */
export const userDefinition = relaxed(SCIMMY.Schemas.User.definition);
export const groupDefinition = relaxed(SCIMMY.Schemas.Group.definition);
export const enterpriseDefinition = relaxed(SCIMMY.Schemas.EnterpriseUser.definition);
